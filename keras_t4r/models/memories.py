"""Where a model has its memory."""

from keras_t4r.layers.memory.transition_memory import TransitionMemory
from keras_t4r.models.graph import layers_of


def find_memories(model):
    """The `TransitionMemory` layers of a model and of the models within it.

    Args:
        model: `keras.Model`.

    Returns:
        A list of layers, each once.
    """
    return [x for x in layers_of(model) if isinstance(x, TransitionMemory)]
