import itertools

from keras import ops


def draw_one_by_one(initializer):
    """An initializer of `(n, width, units)`: `n` kernels, each as a dense layer's.

    Keras's own would take the `n` for a receptive field, and draw smaller values the
    more there are.

    Args:
        initializer: a Keras initializer, or any function of a shape and a dtype.
    """
    drawn = itertools.count()

    def draw(shape, dtype=None):
        kernels = []
        for _ in range(shape[0]):
            one = initializer
            if isinstance(getattr(one, "seed", None), int):
                # The same seed would make all of them alike.
                one = one.clone()
                one.seed = initializer.seed + next(drawn)
            kernels.append(one(shape[1:], dtype=dtype))
        return ops.stack(kernels)

    return draw
