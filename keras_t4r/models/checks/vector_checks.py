"""Whether pretrained vectors, which no config holds, have come to a model."""

from keras_t4r.layers.features.columns.pretrained_embedding import PretrainedEmbedding
from keras_t4r.models.graph import layers_of


def check_vectors(model):
    """Raises where a model was made from a config and lacks its pretrained vectors.

    Args:
        model: `keras.Model`.

    Raises:
        ValueError: the vectors of a column are all zero.
    """
    for layer in layers_of(model):
        for inner in layer._flatten_layers():
            if isinstance(inner, PretrainedEmbedding) and not inner.are_here():
                raise ValueError(
                    f"The pretrained vectors of {inner.name!r} are not here: the model "
                    "was made from a config, which holds none. Load its weights, or "
                    "the model from its .keras file."
                )
