from keras import ops


def next_item_loss(targets, scores, sample_weight=None):
    """Minus the logarithm of the targets' shares of the softmax of scores.

    Targets that are no items, padding or unknown, have no likelihood: they are left
    out. As in Keras, weights count in the sum and not in the number. Where a score is
    NaN, so is the sum.

    Args:
        targets: int tensor `(batch,)`.
        scores: float tensor `(batch, V)`, minus infinity where there is no item.
        sample_weight: float tensor `(batch,)`, or `None`.

    Returns:
        The pair of the sum, weighed, and the number of targets: scalar tensors.
    """
    targets = ops.cast(targets, "int32")
    of_target = ops.take_along_axis(scores, targets[:, None], axis=1)[:, 0]
    known = ops.not_equal(of_target, -float("inf"))
    loss = ops.logsumexp(scores, axis=1) - ops.where(known, of_target, 0.0)
    loss = ops.where(known, loss, 0.0)
    if sample_weight is not None:
        loss = loss * ops.cast(sample_weight, "float32")
    return ops.sum(loss), ops.sum(ops.cast(known, "float32"))
