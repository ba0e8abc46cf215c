"""The best items of a session's scores."""

from keras import ops

from keras_t4r.schema import PADDING_ID


def top_k(scores, k, first_id, seen=None):
    """The `k` items of highest score, seen ones left out on request.

    Args:
        scores: float tensor `(batch, cardinality)`.
        k: int. At most `cardinality - first_id`.
        first_id: int. The lowest id of a real item; lower ones are never returned.
        seen: int tensor `(batch, time)` of ids that must not be recommended.

    Returns:
        The pair of scores and ids, both `(batch, k)`, best first. Where fewer than `k`
        items are left, the last places hold no item: their score is minus infinity,
        and their id 0.
    """
    if seen is not None:
        scores = hide_seen(scores, seen)
    best, index = ops.top_k(scores[:, first_id:], k)
    ids = ops.where(best > -float("inf"), index + first_id, PADDING_ID)
    return best, ops.cast(ids, index.dtype)


def hide_seen(scores, seen):
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
