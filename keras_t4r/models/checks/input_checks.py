"""Inputs that are arrays, as a caller of `fit` or `predict` may give them."""

import numbers
import os

import keras
import numpy as np

from keras_t4r.arguments import is_frame
from keras_t4r.arrays import off_device
from keras_t4r.schema import LARGEST_NUMBER

# Keras casts what it is given, so that what is no id would go unnoticed.
_REMEDY = "encode sessions with the ETL, or read them by a KerasSequenceLoader"


def check_inputs(x, schema):
    """Raises where arrays are no right-padded sessions of the schema's ids and numbers.

    Only the values of dicts are looked at: those of a dataset are its batches' (see
    `BatchCheck`).

    Args:
        x: what a method of `keras.Model` is given.
        schema: `Schema`. The columns that the model reads.

    Raises:
        TypeError: they are a table, a path or lists; a column holds no numbers, or ids
            that are no whole ones.
        ValueError: a column is missing; an id is outside of its domain, or follows
            padding within a session; a number is none, or too large.
    """
    _check_container(x)
    if not isinstance(x, dict):
        return
    for column in schema:
        if column.name not in x:
            raise ValueError(
                f"The inputs have no column {column.name!r}, which the model reads; "
                f"they have {sorted(map(str, x))}."
            )
        if not is_array(x[column.name]):
            continue
        values = values_of(x[column.name], f"Column {column.name!r} of the inputs")
        if not column.is_categorical:
            _check_numbers(values, column)
            continue
        _check_ids(values, column)
        if column.name == schema.item_id:
            _check_padding(values)


def sessions_of(x, schema):
    """How many sessions checked inputs are, or `None` where that is not known."""
    known = schema is not None and isinstance(x, dict)
    return x[schema.item_id].shape[0] if known else None


def _check_container(x):
    wrong = None
    if x is None or is_frame(x) or isinstance(x, (str, os.PathLike, numbers.Number)):
        wrong = f"are of type {type(x).__name__}"
    elif isinstance(x, (list, tuple)) and not all(map(_is_dense, x)):
        wrong = "are lists of values"
    elif isinstance(x, dict):
        lists = [name for name, v in x.items() if not _is_dense(v)]
        wrong = f"hold no array in {lists}" if lists else None
    if wrong:
        raise TypeError(
            f"The inputs {wrong}; the model takes a KerasSequenceLoader, which reads "
            "tables and files of sessions, or a dict of column to padded array."
        )


def _is_dense(x):
    # Ragged and sparse tensors have a shape, too.
    odd = hasattr(x, "row_splits") or hasattr(x, "dense_shape")
    return hasattr(x, "shape") and not odd


def is_array(x):
    """Whether it holds values now, unlike a tensor of a graph."""
    return hasattr(x, "shape") and hasattr(x, "dtype") and not _is_symbolic(x)


def _is_symbolic(x):
    # `tf.data` makes graphs beside every backend.
    of_tensorflow = type(x).__module__.startswith("tensorflow.")
    return isinstance(x, keras.KerasTensor) or (
        of_tensorflow and not hasattr(x, "numpy")
    )


def values_of(x, what):
    """The values of an array as NumPy has them, whichever backend's tensor it is.

    Args:
        x: array or tensor, no value of which may be masked.
        what: string. What is told of it in sentences.
    """
    x = off_device(what, x)
    values = np.asarray(keras.ops.convert_to_numpy(x))
    # NumPy does not know it for a number.
    return values.astype("float32") if values.dtype.name == "bfloat16" else values


def _check_ids(ids, column):
    if ids.dtype.kind not in "iu":
        raise TypeError(
            f"Column {column.name!r} of the inputs holds {ids.dtype}; it should hold "
            f"whole ids: {_REMEDY}."
        )
    if not ids.size:
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= column.cardinality:
        raise ValueError(
            f"Column {column.name!r} of the inputs holds id "
            f"{low if low < 0 else high}; its ids run from 0 to "
            f"{column.cardinality - 1}: {_REMEDY}."
        )


def _check_padding(ids):
    """Items are padded on the right."""
    if ids.ndim != 2:
        return
    late = (ids[:, 1:] != 0) & (ids[:, :-1] == 0)
    if late.any():
        row = int(late.any(axis=1).argmax())
        raise ValueError(
            f"Session {row + 1} of the inputs has an event after padding (id 0): "
            "sessions are padded on the right, as [5, 6, 7, 0, 0]."
        )


def _check_numbers(values, column):
    if values.dtype.kind not in "fiub":
        raise TypeError(
            f"Column {column.name!r} of the inputs holds {values.dtype}; it should "
            "hold numbers."
        )
    fine = np.abs(values) <= LARGEST_NUMBER
    if not fine.all():
        row = int(np.argwhere(~fine)[0][0])
        raise ValueError(
            f"Column {column.name!r} of the inputs has a value in row {row + 1} that "
            f"is no number, or beyond {LARGEST_NUMBER:g}: fill it in first."
        )
