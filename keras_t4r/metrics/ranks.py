from keras import ops


def target_ranks(targets, scores):
    """Rank of each target among all scores of its row, counted from 1.

    `rank = |{i : not score[i] < score[target]}|`: a count, not a sort. Ties
    count against the model, so that a constant scorer ranks last; NaN counts
    as a score above. A target that no list can hold, for its score is `-inf` (an
    unknown item, or one that was left out), has rank infinity: a miss at every
    `k`. One whose score is NaN has rank NaN.

    Args:
        targets: int tensor `(batch,)`, columns of `scores`.
        scores: float tensor `(batch, items)`.

    Returns:
        A float32 tensor `(batch,)`.

    Example:

    >>> target_ranks([1], [[0.1, 0.7, 0.9]])
    [2.]
    """
    targets = ops.cast(targets, "int32")
    of_target = ops.take_along_axis(scores, targets[:, None], axis=1)
    ahead = ops.logical_not(ops.less(scores, of_target))
    rank = ops.cast(ops.sum(ops.cast(ahead, "int32"), axis=1), "float32")
    of_target = of_target[:, 0]
    rank = ops.where(ops.isnan(of_target), float("nan"), rank)
    return ops.where(ops.equal(of_target, -float("inf")), float("inf"), rank)
