import hashlib
import weakref

import numpy as np
from keras import ops

from keras_t4r.layers.features.columns.column_table import ColumnTable

# Arrays of this process by their fingerprint: for layers that are made from a config.
_LIVING = weakref.WeakValueDictionary()
_CHUNK = 65_536


class ArrayTable(ColumnTable):
    """Base of the encoders whose table a caller gives as an array, a row an id.

    The array is a weight, `given`: it goes into `.keras` files, files of weights and
    exports, and never into a config. A layer that is made from a config finds it in the
    process that gave it; elsewhere it comes with the weights.

    Args:
        array: array `(rows, …)`, checked; or the dict that a config has of it.
    """

    def __init__(self, array, **kwargs):
        super().__init__(**kwargs)
        if isinstance(array, dict):
            # Of a config.
            self._fingerprint = array["fingerprint"]
            self._shape = tuple(array["shape"])
            self._kept = _LIVING.get(self._fingerprint)
        else:
            kept = KeptArray(array)
            self._kept = _LIVING.setdefault(kept.fingerprint, kept)
            self._fingerprint = kept.fingerprint
            self._shape = array.shape
        self._seen = self._kept is not None

    @property
    def rows(self):
        return self._shape[0]

    def array_config(self):
        """What a config has of the array."""
        return {"fingerprint": self._fingerprint, "shape": list(self._shape)}

    def are_here(self):
        """Whether the array is: a layer that was made from a config may lack it until
        weights are loaded."""
        if not self._seen and self.built:
            some = ops.any(ops.not_equal(ops.convert_to_tensor(self.given), 0))
            self._seen = bool(ops.convert_to_numpy(some))
        return self._seen

    def add_given(self, **more):
        self.given = self.add_table(
            "given", self.rows, self._shape[1], self._initial, **more
        )

    def _initial(self, shape, dtype=None):
        table = np.zeros(shape, "float32" if dtype is None else dtype)
        if self._kept is not None:
            table[1 : self.rows] = self._kept.array[1:]
        return ops.convert_to_tensor(table, dtype)


class KeptArray:
    """An array, and what tells it from others."""

    def __init__(self, array):
        self.array = array
        digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
        for start in range(0, len(array), _CHUNK):
            digest.update(np.ascontiguousarray(array[start : start + _CHUNK]).data)
        self.fingerprint = digest.hexdigest()
