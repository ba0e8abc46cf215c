from keras import ops

from keras_t4r.backend import take_rows


class ItemRows:
    """What items are scored by, read row by row.

    The score of item `i` for target row `n` is `hidden[n] · e_i + b_i`.

    Args:
        table: tensor `(V, dim)`.
        bias: tensor `(V,)`, or `None`. A number for each id that is added, before it is
            divided by the temperature; what it is for ids that are no items is not
            asked.
        temperature: float. What `hidden` is divided by already.
        normalize: bool. Whether items are scored by their rows' directions.
    """

    def __init__(self, table, bias=None, temperature=1.0, normalize=False):
        self._table, self._bias = table, bias
        self._temperature, self._normalize = temperature, normalize

    def vectors(self, ids=None):
        """`e` of some ids, or of all: float32 `(…, dim)`."""
        rows = self._table if ids is None else take_rows(self._table, ids)
        rows = ops.cast(rows, "float32")
        return unit(rows) if self._normalize else rows

    @property
    def count(self):
        """How many rows there are."""
        return self._table.shape[0]

    def vectors_from(self, first, count):
        """`e` of the ids from `first` on: float32 `(count, dim)`."""
        rows = ops.slice(self._table, (first, 0), (count, self._table.shape[1]))
        rows = ops.cast(rows, "float32")
        return unit(rows) if self._normalize else rows

    def biases(self, ids):
        """`b` of some ids, a float32 tensor of their shape; or 0."""
        if self._bias is None:
            return 0.0
        return ops.cast(take_rows(self._bias, ids), "float32") / self._temperature


def unit(x):
    """Vectors of length 1 along the last axis."""
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)
