"""Session-based and sequential recommendation with Transformers, in Keras 3."""

from keras_t4r.schema import ColumnSchema, Domain, Schema, Tags

__version__ = "0.1.0"
