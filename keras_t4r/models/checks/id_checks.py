"""Whether the ids and numbers of sessions mean to a model what their ETL meant."""

from keras_t4r.layers.context.context_features import ContextFeatures
from keras_t4r.layers.features.sequence_embedding_features import (
    SequenceEmbeddingFeatures,
)
from keras_t4r.layers.memory.transition_memory import TransitionMemory
from keras_t4r.models.graph import layers_of


def check_ids(model, loader):
    """Raises where sessions were encoded otherwise than a model's.

    Args:
        model: `keras.Model`.
        loader: `KerasSequenceLoader`.

    Raises:
        ValueError: see `KerasSequenceLoader.check_ids`.
    """
    for layer in layers_of(model):
        if isinstance(layer, (SequenceEmbeddingFeatures, ContextFeatures)):
            loader.check_ids(layer.told_encodings)
        elif isinstance(layer, TransitionMemory):
            layer.check_ids(loader)
