"""Sessions in the forms that callers have → padded batches of encoded ids."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_t4r.data.loader.padding import event_cells, pad
from keras_t4r.schema import UNKNOWN_ID


def encode(sessions, features, batch_size):
    """Yields dicts of column to array, `(batch, time)` or `(batch,)`.

    A `pyarrow.Table` holds encoded ids already; a dict holds raw values, which
    are looked up in the vocabularies of `features`.
    """
    encoded = isinstance(sessions, pa.Table)
    schema = features.schema
    rows = _count(sessions, schema)
    flat = {}
    for column in schema:
        if column.name not in (sessions.column_names if encoded else sessions):
            raise ValueError(
                f"The sessions have no column {column.name!r}, which the model reads."
            )
        values, offsets = _values(sessions[column.name], column, rows)
        if not encoded and column.is_categorical:
            values = _lookup(values, features.vocabulary(column.name), column)
        flat[column.name] = (_numbers(values, column), offsets)
    _check_lengths(flat, schema)
    for start in range(0, rows, batch_size):
        batch = np.arange(start, min(start + batch_size, rows))
        yield {name: _batch(*pair, batch) for name, pair in flat.items()}


def session_ids(sessions, name):
    """The session column, where there is one, as it goes into an answer."""
    if name is None:
        return {}
    if isinstance(sessions, pa.Table):
        if name not in sessions.column_names:
            return {}
        return {name: sessions[name].to_numpy()}
    return {name: np.asarray(sessions[name])} if name in sessions else {}


def _count(sessions, schema):
    if isinstance(sessions, pa.Table):
        return sessions.num_rows
    if not isinstance(sessions, dict):
        raise TypeError(
            "Sessions come as a dict of column to lists, or as a pyarrow.Table of an "
            f"ETL; this is a {type(sessions).__name__}."
        )
    if schema.item_id not in sessions:
        raise ValueError(
            f"The sessions have no column {schema.item_id!r}, which the model reads."
        )
    return len(sessions[schema.item_id])


def _values(data, column, rows):
    """Flat values and, for list columns, offsets."""
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
    try:
        array = data if isinstance(data, pa.Array) else pa.array(_plain(data))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TypeError(f"Column {column.name!r} of the sessions: {error}.") from error
    if len(array) != rows:
        raise ValueError(
            f"Column {column.name!r} has {len(array)} rows, the items have {rows}."
        )
    if not column.is_list:
        return array, None
    if rows == 0:
        return pa.array([], pa.int64()), np.zeros(1, "int64")
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        raise TypeError(
            f"Column {column.name!r} holds {array.type} values; it needs a list of "
            "values for each session."
        )
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    return array.flatten(), np.concatenate([[0], np.cumsum(lengths, dtype="int64")])


def _plain(data):
    return [list(x) if isinstance(x, np.ndarray) else x for x in data]


def _lookup(values, vocabulary, column):
    """Raw values → ids; what the vocabulary does not hold becomes unknown."""
    if vocabulary is None:
        return values
    if len(values) == 0:
        return pa.array([], pa.int64())
    try:
        raw = pc.cast(values, vocabulary.type)
    except pa.ArrowInvalid as error:
        raise TypeError(
            f"Column {column.name!r} needs raw values of type {vocabulary.type}: "
            f"{error}."
        ) from error
    row = pc.index_in(raw, vocabulary)
    return pc.fill_null(pc.add(row, column.first_id), UNKNOWN_ID)


def _numbers(values, column):
    dtype = "int32" if column.is_categorical else "float32"
    try:
        values = pc.cast(values, dtype if column.is_categorical else "float")
    except pa.ArrowInvalid as error:
        raise TypeError(f"Column {column.name!r} of the sessions: {error}.") from error
    if values.null_count:
        raise ValueError(f"Column {column.name!r} of the sessions has a null value.")
    numbers = values.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    if column.is_categorical and len(numbers):
        low, high = numbers.min(), numbers.max()
        if low < 0 or high >= column.cardinality:
            raise ValueError(
                f"Column {column.name!r} holds id {high if low >= 0 else low}; its ids "
                f"run from 0 to {column.cardinality - 1}."
            )
    elif len(numbers) and np.isnan(numbers).any():
        raise ValueError(f"Column {column.name!r} of the sessions has a NaN.")
    return numbers


def _check_lengths(flat, schema):
    _, expected = flat[schema.item_id]
    for name, (_, offsets) in flat.items():
        if offsets is not None and not np.array_equal(offsets, expected):
            row = np.flatnonzero(np.diff(offsets) != np.diff(expected))[0]
            raise ValueError(
                f"Session {row} has {np.diff(expected)[row]} items but "
                f"{np.diff(offsets)[row]} values in column {name!r}."
            )


def _batch(values, offsets, rows):
    if offsets is None:
        return values[rows]
    length = offsets[rows + 1] - offsets[rows]
    # Few shapes, so few compilations.
    time = max(4, -(-int(length.max(initial=0)) // 4) * 4)
    cells = event_cells(offsets[rows], length, time)
    return pad(values, *cells, (len(rows), time))
