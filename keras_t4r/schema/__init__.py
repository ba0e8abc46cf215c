"""Schemas: columns, their tags and domains, as files and as Merlin's."""

from keras_t4r.schema.column_schema import ColumnSchema
from keras_t4r.schema.domain import LARGEST_NUMBER, PADDING_ID, UNKNOWN_ID, Domain
from keras_t4r.schema.schema import VOCABULARY_FOLDER, Schema, check_schema
from keras_t4r.schema.tags import Tags
from keras_t4r.schema.vocabulary import FIRST_ID, Vocabulary
