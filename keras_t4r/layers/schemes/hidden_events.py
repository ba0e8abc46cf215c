"""What the schemes that hide events share: which events, and the slot of the next."""

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


def is_last(real):
    """Which position is the last real one of its row; none where there is none."""
    position = ops.arange(ops.shape(real)[1])[None, :]
    return ops.logical_and(ops.equal(position, last_position(real)), real)


def last_position(real):
    """Index of the last real position, -1 where there is none: `(batch, 1)`."""
    position = ops.arange(1, ops.shape(real)[1] + 1)[None, :]
    return ops.max(position * ops.cast(real, position.dtype), axis=1, keepdims=True) - 1


def append_slot(x, item_ids):
    """Makes room for the event that comes next.

    Returns:
        A triple of `x` with one position more, of zeros; bool `(batch, time + 1)`, True
        for real events; and the same, True only for the position after the last of
        them, in an empty session the first.
    """
    real = ops.not_equal(item_ids, 0)
    nothing = ops.zeros_like(real[:, :1])
    real = ops.concatenate([real, nothing], axis=1)
    x = ops.concatenate([x, ops.zeros_like(x[:, :1])], axis=1)
    position = ops.arange(ops.shape(real)[1])[None, :]
    slot = ops.equal(position, last_position(real) + 1)
    return x, real, slot
