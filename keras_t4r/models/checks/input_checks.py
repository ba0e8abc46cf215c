"""Inputs that are arrays, as a caller of `fit` or `predict` may give them."""

import numbers
import os

import keras
import numpy as np

from keras_t4r.data.loader.session_tables import is_frame
from keras_t4r.schema import LARGEST_NUMBER, PADDING_ID

# Keras casts what it is given, so that what is no id would go unnoticed.
_REMEDY = "encode sessions with the ETL, or read them by a KerasSequenceLoader"


def check_inputs(x, schema):
    """Raises where arrays are no right-padded sessions of the schema's ids and numbers.

    Only the values of dicts are looked at: what a dataset will give is not known yet.

    Args:
        x: what a method of `keras.Model` is given.
        schema: `Schema`. The columns that the model reads.

    Raises:
        TypeError: they are a table, a path or lists; a column holds no numbers, or ids
            that are no whole ones.
        ValueError: a column is missing; an id is outside of its domain, is padding
            within a session, or follows it; a number is none, or too large.
    """
    _check_container(x)
    if not isinstance(x, dict):
        return
    item, events = schema.item_id, None
    # The items first: they say where the events of the others are.
    for column in sorted(schema, key=lambda column: column.name != item):
        if column.name not in x:
            raise ValueError(
                f"The inputs have no column {column.name!r}, which the model reads; "
                f"they have {sorted(map(str, x))}."
            )
        if not is_array(x[column.name]):
            continue
        values = np.asarray(keras.ops.convert_to_numpy(x[column.name]))
        if not column.is_categorical:
            _check_numbers(values, column)
            continue
        _check_ids(values, column)
        if column.name == item:
            events = values != PADDING_ID
            _check_padding(values)
        elif column.lowest_id != PADDING_ID and events is not None:
            _check_none_missing(values, events, column)


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
    return isinstance(x, keras.KerasTensor) or (
        # A tensor of a TensorFlow graph.
        keras.backend.backend() == "tensorflow"
        and not hasattr(x, "numpy")
        and not isinstance(x, np.ndarray)
    )


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
    late = _after_padding(ids)
    if late.any():
        row = int(late.any(axis=1).argmax())
        raise ValueError(
            f"Session {row + 1} of the inputs has an event after padding (id 0): "
            "sessions are padded on the right, as [5, 6, 7, 0, 0]."
        )


def _check_none_missing(ids, events, column):
    """Ids of other columns are padding only where there is no event, or in bags."""
    if column.is_bag and ids.ndim == 3:
        gap = _after_padding(ids).any(axis=-1)
        empty = (ids == PADDING_ID).all(axis=-1) & (column.event_count[0] > 0)
        missing = gap | empty
    elif not column.is_list:
        missing = ids.reshape(len(ids), -1) == PADDING_ID
        events = events.reshape(len(events), -1).any(axis=1, keepdims=True)
    else:
        missing = ids == PADDING_ID
    if missing.shape != events.shape:
        return
    missing = missing & events
    if missing.any():
        row = int(np.argwhere(missing)[0][0])
        raise ValueError(
            f"Column {column.name!r} of the inputs holds id 0 inside session "
            f"{row + 1}, but id 0 is padding: {_REMEDY}."
        )


def _after_padding(ids):
    """Which ids, but for the first of a row, follow padding."""
    return (ids[..., 1:] != PADDING_ID) & (ids[..., :-1] == PADDING_ID)


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
