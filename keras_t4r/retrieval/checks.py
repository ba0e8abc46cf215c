"""Ids, vectors and queries as an index takes them."""

import numpy as np

from keras_t4r.arguments import LARGEST_INT
from keras_t4r.arrays import as_array


def check_ids(ids):
    """Ids of items as an int64 array `(n,)`: whole numbers from 1 on, each once."""
    ids = _integers("ids", ids)
    if ids.ndim != 1:
        raise ValueError(f"The ids are an array {ids.shape}; they should be a list.")
    if ids.size and not 1 <= ids.min() <= ids.max() <= LARGEST_INT:
        raise ValueError(
            f"The ids reach from {ids.min()} to {ids.max()}; those of items lie "
            f"between 1 and {LARGEST_INT}."
        )
    order = np.sort(ids)
    twice = np.flatnonzero(order[1:] == order[:-1])
    if len(twice):
        raise ValueError(f"Id {order[twice[0]]} stands twice: give each item once.")
    return ids


def check_vectors(what, vectors, rows=None, dim=None):
    """A float32 array `(rows, dim)` of finite numbers.

    Args:
        what: string. What a row is of, for the sentences.
        vectors: array.
        rows, dim: ints or `None`. What its shape must be.
    """
    vectors = as_array(f"The array of vectors of {what}", vectors)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise ValueError(
            f"The vectors of {what} are {vectors.dtype} {vectors.shape}; they should "
            "be numbers, a row each."
        )
    if rows is not None and len(vectors) != rows:
        raise ValueError(f"There are {rows} ids, but {len(vectors)} vectors of {what}.")
    if dim is not None and vectors.shape[1] != dim:
        raise ValueError(
            f"The vectors of {what} have {vectors.shape[1]} numbers, but those of the "
            f"index {dim}: they are of another model."
        )
    vectors = np.ascontiguousarray(vectors, "float32")
    # A sum is no number if any of its terms is none.
    rows_whole = np.isfinite(np.add.reduce(vectors, axis=1, dtype="float64"))
    if not rows_whole.all():
        row = int(np.argmin(rows_whole))
        raise ValueError(
            f"Row {row} of the vectors of {what} has a value that is no finite number."
        )
    return vectors


def check_excluded(exclude, queries):
    """Excluded ids as an int64 array, `(n,)` for all queries or `(queries, n)`."""
    if exclude is None:
        return np.zeros(0, "int64")
    exclude = _integers("excluded ids", exclude)
    # No item has such an id.
    exclude = np.where((exclude > 0) & (exclude <= LARGEST_INT), exclude, 0)
    if exclude.ndim == 1:
        return np.unique(exclude[exclude > 0])
    if exclude.ndim != 2 or len(exclude) != queries:
        raise ValueError(
            f"The excluded ids are an array {exclude.shape}; give a list for all "
            f"queries, or a row for each of the {queries}, filled up with 0."
        )
    return exclude


def _integers(what, values):
    if hasattr(values, "columns"):
        raise TypeError(
            f"The {what} are a {type(values).__name__}, whose columns may be anything: "
            "give the list of one of them."
        )
    values = as_array(f"The list of {what}", values)
    if values.size == 0:
        return values.astype("int64")
    if values.dtype.kind not in "iu":
        raise TypeError(f"The {what} are {values.dtype}; they should be whole numbers.")
    return values.astype("int64")
