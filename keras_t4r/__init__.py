"""Session-based and sequential recommendation with Transformers, in Keras 3."""

from keras_t4r import losses, metrics
from keras_t4r.data.sequence_loader import KerasSequenceLoader
from keras_t4r.layers.causal_language_modeling import CausalLanguageModeling
from keras_t4r.layers.masked_language_modeling import MaskedLanguageModeling
from keras_t4r.layers.next_item_head import NextItemHead
from keras_t4r.layers.sequence_embedding_features import SequenceEmbeddingFeatures
from keras_t4r.layers.transformer_block import TransformerBlock
from keras_t4r.models.session_model import SessionModel
from keras_t4r.schema import ColumnSchema, Domain, Schema, Tags

__version__ = "0.1.0"
