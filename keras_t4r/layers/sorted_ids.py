"""Where ids stand among others, row by row."""

from keras import ops


def places_in(ids, wanted):
    """Columns of ids in rows of sorted ones, by binary search.

    Args:
        ids: int tensor `(batch, n)`, ascending in each row.
        wanted: int tensor `(batch, m)`.

    Returns:
        The pair of an int tensor `(batch, m)` of columns, and of a bool tensor, whether
        the id stands there; the column of one that does not is any.
    """
    wanted, size = ops.cast(wanted, ids.dtype), ops.shape(ids)[1]
    low = ops.zeros_like(wanted)
    high = low + ops.cast(size - 1, ids.dtype)
    # Where the width is not known, steps enough for any.
    for _ in range(size.bit_length() if isinstance(size, int) else 31):
        middle = (low + high) // 2
        below = ops.take_along_axis(ids, middle, axis=1) < wanted
        low = ops.where(below, ops.minimum(middle + 1, high), low)
        high = ops.where(below, high, middle)
    return low, ops.equal(ops.take_along_axis(ids, low, axis=1), wanted)
