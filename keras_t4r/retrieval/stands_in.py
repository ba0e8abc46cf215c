import numpy as np


def stands_in(ids, exclude):
    """Whether each id is among those of its row.

    Args:
        ids: int array `(n, k)`.
        exclude: int array `(n, m)`. Both below `2**32`; what is negative is no id.

    Returns:
        A bool array `(n, k)`.
    """
    row = np.arange(len(ids), dtype="int64")[:, None] << 32
    return np.isin(row + np.maximum(ids, 0), row + exclude)
