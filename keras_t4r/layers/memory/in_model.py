"""Where a model has its memory."""

import keras

from keras_t4r.layers.memory.transition_memory import TransitionMemory


def find_memories(model):
    """The `TransitionMemory` layers of a model and of the models within it.

    Args:
        model: `keras.Model`.

    Returns:
        A list of layers, each once.
    """
    found = {}
    for layer in model.layers:
        if isinstance(layer, TransitionMemory):
            found[id(layer)] = layer
        elif isinstance(layer, keras.Model):
            found.update((id(m), m) for m in find_memories(layer))
    return list(found.values())
