"""Sessions in the forms that callers have → padded batches of encoded ids."""

from collections.abc import Iterable, Mapping, Set

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from keras_t4r.arrays import unmasked
from keras_t4r.data.clicks.no_values import NO_VALUES
from keras_t4r.data.clicks.table_columns import is_rows, table_columns
from keras_t4r.data.etl.config import LENGTH, START, WINDOW
from keras_t4r.data.loader.arrow_layouts import is_list, one_array
from keras_t4r.data.loader.padding import event_cells, pad
from keras_t4r.data.loader.session_tables import holds_sets
from keras_t4r.files.sentences import first_line
from keras_t4r.models.answers.session_keys import as_they_came
from keras_t4r.schema import LARGEST_NUMBER, Tags
from keras_t4r.schema.encoded_ids import (
    check_encoded,
    encoded_columns,
    encodings_of,
)
from keras_t4r.schema.plain_numbers import plain_numbers
from keras_t4r.schema.raw_values import NO_SERIES, read_ids


class RaggedSessions:
    """Sessions as flat arrays of encoded ids and numbers.

    What a value means is said by a mark, never guessed from the container: a table
    that carries an ETL's mark (see `schema.encoded_ids`) holds encoded ids and
    standardised numbers; anything else holds raw values, as they stand in the log.
    An ETL's columns without its mark are asked about, not answered.

    Args:
        sessions: dict of column to lists, `pyarrow.Table`, polars or pandas frame, or
            list of rows, each a dict or a named tuple.
        schema: `Schema`. The columns that the model reads.
        vocabularies: dict of column to `Vocabulary`. A column without one has ids
            that are encoded already.
        encoded: bool or `None`. What sessions without a mark hold. `False` also
            overrules a mark.

    Raises:
        TypeError: the container, or the type of a column, is none that can be read.
        ValueError: a column is missing or stands twice, lists or columns differ in
            length, a session is null, a value is out of range; the mark is of another
            vocabulary, of one that is not known here or of numbers that were
            standardised otherwise, or was lost; raw sessions hold a number that the
            ETL standardised.
    """

    def __init__(self, sessions, schema, vocabularies, encoded=None):
        self._sessions = _columns(sessions, schema.names)
        self._schema = schema
        mark = None
        if isinstance(sessions, pa.Table | pa.RecordBatch):
            mark = encoded_columns(sessions.schema)
            if encoded is not False:
                encodings = encodings_of(schema, vocabularies)
                check_encoded(sessions.schema, encodings, "the sessions")
        if encoded is None:
            if mark is None and vocabularies:
                _refuse_lost_mark(self._sessions, schema)
            encoded = mark is not None
            known = {n: v for n, v in vocabularies.items() if n not in (mark or {})}
        else:
            known = {} if encoded else vocabularies
        self._read(known, encoded)

    def __len__(self):
        return self._rows

    def _read(self, vocabularies, encoded):
        item = self._schema.item_id
        for column in self._schema:
            if column.name not in self._sessions:
                raise ValueError(
                    f"The sessions have no column {column.name!r}, which the model "
                    "reads."
                )
            _check_column(column.name, self._sessions[column.name])
        self._rows = len(self._sessions[item])
        self._flat = {}
        for column in self._schema:
            if not encoded and Tags.STANDARDISED in column.tags:
                raise ValueError(
                    f"Column {column.name!r} was standardised by the ETL, and these "
                    "sessions carry no mark of an ETL: numbers as they stand in the "
                    "log would give wrong answers. Ask with etl.transform(clicks), or "
                    "pass encoded=True if ids and numbers are as the ETL makes them."
                )
            values, offsets = _values(self._sessions[column.name], column, self._rows)
            if column.name == item:
                _check_items(values, column.name)
            events = None
            if column.event_count is not None:
                events = _Events(values, column)
                values = events.values
            if column.name in vocabularies:
                values = pa.array(vocabularies[column.name].encode(values))
            flat = (_encoded if column.is_categorical else _numbers)(values, column)
            if events is not None:
                flat = events.padded(flat)
            self._flat[column.name] = (flat, offsets)
        _, expected = self._flat[item]
        for name, (_, offsets) in self._flat.items():
            if offsets is not None:
                _check_lengths(name, offsets, expected)

    def keys(self, name):
        """The session column as it goes into an answer: a dict, empty without one."""
        if name is None or name not in self._sessions:
            return {}
        keys = self._sessions[name]
        _check_column(name, keys)
        if len(keys) != self._rows:
            raise ValueError(
                f"Column {name!r} has {len(keys)} rows, the items have {self._rows}."
            )
        return {name: as_they_came(keys)}

    def batches(self, batch_size, history=None):
        """Yields dicts of column to array, `(batch, time, …)` or `(batch,)`.

        Args:
            batch_size: int. Sessions in a batch.
            history: int or `None`. Newest events that a batch holds of a session.
        """
        for start in range(0, self._rows, batch_size):
            rows = np.arange(start, min(start + batch_size, self._rows))
            yield {
                name: _batch(*pair, rows, history) for name, pair in self._flat.items()
            }


def _columns(sessions, names):
    """A dict of column to Arrow array or list."""
    columns = table_columns(sessions, "sessions")
    if columns is None:
        raise TypeError(
            "Sessions come as a dict of column to lists, as a pyarrow.Table, as a "
            "polars or pandas frame, or as a list of rows, each a dict or a named "
            f"tuple; this is a {type(sessions).__name__}."
        )
    if is_rows(sessions) and not sessions:
        # It names no columns.
        return {name: [] for name in names}
    if isinstance(sessions, Mapping):
        return columns
    return {name: _of_frame(column) for name, column in columns.items()}


def _of_frame(column):
    """A column of a frame in Arrow, as far as that has its values."""
    try:
        if isinstance(column, pl.Series):
            return column.to_arrow()
        # Arrow takes the values of a set in the order of their hashes.
        if type(column).__module__.partition(".")[0] != "pandas" or holds_sets(column):
            return column
        # Of what is masked Arrow would drop the mask.
        rows = unmasked(column)
        return rows if rows is not column else pa.array(column, from_pandas=True)
    except (pa.ArrowException, pl.exceptions.PolarsError):
        # Nobody may read it.
        return column


def _check_column(name, data):
    none = isinstance(data, str | bytes | Mapping | Set) or not hasattr(data, "__len__")
    if none or getattr(data, "ndim", 1) == 0:
        raise TypeError(
            f"Column {name!r} of the sessions is of type {type(data).__name__}; give a "
            "list or an array with an entry for each session."
        )


def _refuse_lost_mark(sessions, schema):
    # polars and pandas drop the mark of the Arrow table that they are made from.
    own = {WINDOW, LENGTH, START}
    if own <= set(sessions) and own.isdisjoint(schema.names):
        raise ValueError(
            f"The sessions have an ETL's columns {sorted(own)}, but not its mark, so "
            "raw ids cannot be told from encoded ones: pass the Arrow table, as "
            "etl.transform or pyarrow.parquet.read_table gives it, or say encoded=True "
            "or encoded=False."
        )


def _values(data, column, rows):
    """Flat values and, for list columns, offsets."""
    array = _in_arrow(data, column)
    if len(array) != rows:
        raise ValueError(
            f"Column {column.name!r} has {len(array)} rows, the items have {rows}."
        )
    if not column.is_list:
        _refuse_lists(array, column, "session")
        return _plain_values(array), None
    if rows == 0:
        return pa.array([], pa.int64()), np.zeros(1, "int64")
    if not is_list(array.type):
        raise TypeError(
            f"Column {column.name!r} holds {array.type} values; it needs a list of "
            "values for each session."
        )
    if array.null_count:
        row = array.is_null().index(True).as_py()
        raise ValueError(
            f"Session {row} is null in column {column.name!r}: leave it out."
        )
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    values = array.flatten()
    if column.event_count is None:
        _refuse_lists(values, column, "event")
        values = _plain_values(values)
    return values, np.concatenate([[0], np.cumsum(lengths, dtype="int64")])


def _refuse_lists(values, column, owner):
    if is_list(values.type):
        raise TypeError(
            f"Column {column.name!r} of the sessions holds {values.type} values for "
            f"each {owner}; it needs one value."
        )


class _Events:
    """The vectors or bags of events: their values, flat, and how many each has."""

    def __init__(self, array, column):
        least, self._most = column.event_count
        if not len(array):
            array = pa.array([], pa.list_(pa.int64()))
        if not is_list(array.type) or array.null_count:
            raise TypeError(
                f"Column {column.name!r} of the sessions needs a list of values for "
                "each event."
            )
        lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
        wrong = (lengths < least) | (lengths > self._most)
        if wrong.any():
            raise ValueError(
                f"Column {column.name!r} of the sessions has an event of "
                f"{lengths[wrong][0]} values; they should be {least} to {self._most}."
            )
        self._lengths = lengths.astype("int64")
        self.values = array.flatten()
        _refuse_lists(self.values, column, "value of an event")
        self.values = _plain_values(self.values)

    def padded(self, flat):
        """An array `(events, most)` of the values, encoded."""
        begin = np.cumsum(self._lengths) - self._lengths
        if not len(begin):
            return np.zeros((0, self._most), flat.dtype)
        cells = event_cells(begin, self._lengths, self._most)
        return pad(flat, *cells, (len(begin), self._most))


def _in_arrow(data, column):
    try:
        if isinstance(data, pl.Series):
            data = data.to_arrow()
        elif not isinstance(data, pa.Array | pa.ChunkedArray):
            rows = [_as_list(row) for row in data] if column.is_list else list(data)
            # Among ids NaN is what pandas writes for "no value".
            data = pa.array(plain_numbers(rows), from_pandas=column.is_categorical)
        return one_array(data)
    except (OverflowError, *NO_SERIES) as error:
        wanted = "ids (integers, or text)" if column.is_categorical else "numbers"
        wanted = f"a list of {wanted}" if column.is_list else f"one of {wanted}"
        raise TypeError(
            f"Column {column.name!r} of the sessions cannot be read "
            f"({first_line(error)}): give {wanted} for each session."
        ) from error


def _as_list(row):
    """A session's values of one column as a list; what has none as it came."""
    if isinstance(row, list | tuple | str | bytes | Mapping | pa.Scalar):
        return row
    if isinstance(row, Set):
        raise TypeError("a session is a set, which has no order; give a list of values")
    if isinstance(row, np.ndarray) and row.ndim and row.dtype.kind in "fiub":
        return row.tolist()
    # As a range, a series or a generator; an array of no dimension says so itself.
    is_many = isinstance(row, Iterable) and getattr(row, "ndim", 1)
    return list(row) if is_many else row


def _plain_values(values):
    return values.cast(pa.large_string()) if _is_text(values.type) else values


def _is_text(kind):
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _encoded(ids, column):
    """Encoded ids as int32, all within the column's."""
    series = read_ids(ids, f"Column {column.name!r} of the sessions")
    if series.null_count():
        raise ValueError(f"Column {column.name!r} of the sessions has a null value.")
    # Of other columns id 0 says nothing.
    least, most = int(Tags.ITEM_ID in column.tags), column.cardinality - 1
    if len(series) and (series.min() < least or series.max() > most):
        wrong = series.min() if series.min() < least else series.max()
        raise ValueError(
            f"Column {column.name!r} holds id {wrong}; its ids run from {least} to "
            f"{most}."
        )
    return series.to_numpy().astype("int32")


def _numbers(values, column):
    kind, what = values.type, f"Column {column.name!r} of the sessions"
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    others = (
        pa.types.is_boolean(kind),
        pa.types.is_decimal(kind),
        pa.types.is_null(kind),
    )
    if not (plain or any(others)):
        raise TypeError(f"{what} holds {kind} values; it should hold numbers.")
    # Of large whole numbers float32 keeps what it can, as in the loader.
    values = pc.cast(values, "float", safe=not plain)
    if values.null_count:
        raise ValueError(f"{what} has a null value.")
    numbers = values.to_numpy(zero_copy_only=False)
    if not np.abs(numbers).max(initial=0) <= LARGEST_NUMBER:
        raise ValueError(
            f"{what} has a value that is no number, or beyond {LARGEST_NUMBER:g}."
        )
    return numbers


def _check_items(values, name):
    """Items that are null, empty text or padding are no events, in any form."""
    none = None
    if _is_text(values.type):
        none = pc.equal(values, NO_VALUES["string"])
    elif pa.types.is_int64(values.type):
        none = pc.equal(values, NO_VALUES["int64"])
    elif pa.types.is_floating(values.type):
        none = pc.is_nan(values)
    if values.null_count or (none is not None and pc.any(none).as_py()):
        raise ValueError(
            f"Column {name!r} of the sessions has a null or empty item: leave the "
            "event out."
        )


def _check_lengths(name, offsets, expected):
    if not np.array_equal(offsets, expected):
        row = np.flatnonzero(np.diff(offsets) != np.diff(expected))[0]
        raise ValueError(
            f"Session {row} has {np.diff(expected)[row]} items but "
            f"{np.diff(offsets)[row]} values in column {name!r}."
        )


def _batch(values, offsets, rows, history):
    if offsets is None:
        return values[rows]
    begin, end = offsets[rows], offsets[rows + 1]
    if history is not None:
        begin = np.maximum(begin, end - history)
    length = end - begin
    # Few shapes, so few compilations.
    time = max(4, -(-int(length.max(initial=0)) // 4) * 4)
    if history is None and time > 64:
        time = 1 << (time - 1).bit_length()
    cells = event_cells(begin, length, time)
    return pad(values, *cells, (len(rows), time))
