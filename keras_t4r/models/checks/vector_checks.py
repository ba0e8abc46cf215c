"""Whether arrays that a caller gave, and no config holds, have come to a model."""

from keras_t4r.layers.features.columns.array_table import ArrayTable
from keras_t4r.models.graph import layers_of


def check_vectors(model):
    """Raises where a model was made from a config and lacks what its tables were given.

    Args:
        model: `keras.Model`.

    Raises:
        ValueError: a table that was given is all zero.
    """
    for layer in layers_of(model):
        for inner in layer._flatten_layers():
            if isinstance(inner, ArrayTable) and not inner.are_here():
                raise ValueError(
                    f"The vectors or attributes of {inner.name!r} are not here: the "
                    "model was made from a config, which holds none. Load its weights, "
                    "or the model from its .keras file."
                )
