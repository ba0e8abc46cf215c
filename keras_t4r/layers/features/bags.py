"""The ids of a bag → one vector."""

from keras import ops

COMBINERS = ("sum", "mean", "sqrtn")


def combine(rows, ids, combiner):
    """One vector of the vectors of a bag's ids; zero of a bag that is empty.

    `sum`: `e_1 + … + e_n`; `mean`: the same over `n`; `sqrtn`: over `sqrt(n)`, so that
    bags of all sizes are of like length where their vectors are independent.

    Args:
        rows: tensor `(…, most, width)`. Zero where there is no id.
        ids: int tensor `(…, most)`, 0 where there is none.
        combiner: string. One of the above.
    """
    total = ops.sum(rows, axis=-2)
    if combiner == "sum":
        return total
    count = ops.sum(ops.cast(ops.not_equal(ids, 0), "float32"), axis=-1, keepdims=True)
    count = ops.maximum(count, 1.0)
    if combiner == "sqrtn":
        count = ops.sqrt(count)
    return total / ops.cast(count, total.dtype)
