"""Scores of what must not be answered."""

from keras import ops


def hide_items(scores, seen):
    """Scores with minus infinity for the ids of the session itself.

    Args:
        scores: float tensor `(batch, cardinality)`.
        seen: int tensor `(batch, time)`; 0 is padding.
    """
    batch, time = ops.shape(seen)[0], ops.shape(seen)[1]
    rows = ops.repeat(ops.arange(batch)[:, None], time, axis=1)
    at = ops.stack(
        [ops.reshape(rows, (-1,)), ops.reshape(ops.cast(seen, rows.dtype), (-1,))],
        axis=1,
    )
    gone = ops.full((batch * time,), -float("inf"), dtype=scores.dtype)
    return ops.scatter_update(scores, at, gone)
