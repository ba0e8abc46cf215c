"""Which events schemes hide."""

from keras import ops


def hide_some_but_not_all(hidden, draw, real):
    """`hidden`, with at least one event of a session in it and one left out.

    The least draw of a session is always hidden and, where it has two events or more,
    the greatest never.

    Args:
        hidden: bool tensor `(batch, time)`. A first choice.
        draw: float tensor `(batch, time)` in [0, 1). Random, and less for events in
            `hidden` than for others.
        real: bool tensor `(batch, time)`, True for real events.
    """
    position = ops.arange(ops.shape(real)[1])[None, :]
    length = ops.sum(ops.cast(real, "int32"), axis=1, keepdims=True)
    least = ops.argmin(ops.where(real, draw, 2.0), axis=1, keepdims=True)
    greatest = ops.argmax(ops.where(real, draw, -1.0), axis=1, keepdims=True)

    def at(index):
        return ops.equal(position, ops.cast(index, position.dtype))

    keep = ops.logical_and(at(greatest), length > 1)
    hidden = ops.logical_and(hidden, ops.logical_not(keep))
    return ops.logical_and(ops.logical_or(hidden, at(least)), real)
