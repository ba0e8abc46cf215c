"""A mixture of what the network thinks of the next item and of other evidence."""

from keras import ops

from keras_t4r.backend import add_at_columns


def mix(scores, total, columns, evidence):
    """Scores with evidence for some items.

    With the softmax `q` of the scores and `m` the evidence summed up, the new score is
    `log((q(j) + m(j)) / (1 + sum over k of m(k)))`. One of minus infinity stays.

    Args:
        scores: float32 tensor `(batch, n)`.
        total: float32 tensor `(batch, 1)`. Logarithm of the sum of `exp(score)` over
            all items, which may be more than the `n`.
        columns: int tensor `(batch, m)`; they may repeat.
        evidence: float32 tensor `(batch, m)`.

    Returns:
        The pair of the scores, and of what is added to those without evidence,
        `(batch, 1)`.
    """
    m = add_at_columns(ops.zeros_like(scores), columns, evidence)
    network = scores - total
    # In logarithms, so that improbable items keep their order.
    mixed = ops.logaddexp(network, ops.log(m))
    gain = ops.log1p(ops.sum(m, axis=1, keepdims=True))
    mixed = ops.where(ops.equal(scores, -float("inf")), -float("inf"), mixed - gain)
    return mixed, -total - gain
