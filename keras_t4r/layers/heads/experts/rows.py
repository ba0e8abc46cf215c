"""Events and sessions alike as rows, and back."""

from keras import ops


def as_rows(x):
    """`(batch, …, width)` as `(rows, width)`."""
    return ops.reshape(x, (-1, x.shape[-1]))


def from_rows(y, like):
    """`(rows, units)` as `(batch, …, units)`, with the first axes of `like`."""
    return ops.reshape(y, (*ops.shape(like)[:-1], y.shape[-1]))
