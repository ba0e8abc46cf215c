"""The best items of a session's scores."""

from keras import ops

from keras_t4r.layers.hidden_scores import hide_items
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
        and their id 0. Where a score of a session is NaN there is no order: all of
        its answer's scores are NaN.
    """
    if seen is not None:
        scores = hide_items(scores, seen)
    scores = scores[:, first_id:]
    best, index = ops.top_k(scores, k)
    # A sum is NaN where a score is, and makes nothing of the size of the scores.
    undefined = ops.isnan(ops.sum(scores, axis=1, keepdims=True))
    best = ops.where(undefined, float("nan"), best)
    ids = ops.where(best > -float("inf"), index + first_id, PADDING_ID)
    return best, ops.cast(ids, index.dtype)
