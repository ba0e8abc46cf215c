import keras


def fresh(initializer):
    """The same initializer with draws of its own.

    Keras's initializers give the same values whenever they are asked: weights that
    share one would start alike.

    Args:
        initializer: a Keras initializer, or any other function, which is returned as
            it is. One with a seed that was given keeps it.
    """
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer
