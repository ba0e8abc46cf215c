"""Session ids on their way through an answer."""

import numpy as np
import pyarrow as pa


def as_they_came(keys):
    """Session ids as a NumPy array, of objects where NumPy would change them.

    NumPy makes text of `[1, "a"]`, floats of `[2**63, -1]`, and cuts `"a\\0"`.

    Args:
        keys: array, Arrow array, series or list.
    """
    if isinstance(keys, pa.Array | pa.ChunkedArray):
        return _objects(keys.to_pylist()) if keys.null_count else keys.to_numpy(False)
    if isinstance(keys, np.ndarray):
        return keys
    values = keys.to_list() if hasattr(keys, "to_list") else list(keys)
    if len({type(value) for value in values}) > 1:
        return _objects(values)
    array = np.asarray(values)
    # One type may still be too small for the values, as for 2**63 beside -1.
    return array if _holds(array, values) else _objects(values)


def _holds(array, values):
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    held = array.tolist()
    return held == plain and list(map(type, held)) == list(map(type, plain))


def _objects(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array
