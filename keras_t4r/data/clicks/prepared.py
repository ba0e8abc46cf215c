"""Clicks in memory: any table → typed, checked, in order of session and time."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from keras_t4r.data.clicks.click_log import ROW, ClickLog, check_columns
from keras_t4r.data.clicks.no_values import NO_VALUES, as_null
from keras_t4r.data.clicks.times import TIME, column_kind, microseconds
from keras_t4r.files.sentences import first_line


class ClickTable:
    """Clicks that are in memory, behind the same face as `ClickLog`."""

    files = ()

    def __init__(self, clicks):
        self.frame = _as_polars(clicks)

    def names(self):
        return self.frame.columns

    def rows(self):
        return self.frame.height

    def text_kinds(self, columns, time):
        return {}

    def scan(self, columns, kinds):
        if not self.frame.width:  # An empty list, which names no columns either.
            return pl.DataFrame(schema=dict.fromkeys([*columns, ROW], pl.Null))
        check_columns(columns, self.names(), "the clicks")
        return self.frame.select(columns).with_row_index(ROW)

    @contextmanager
    def reading(self, kinds=None):
        """Turns what the engine says of a value into one sentence."""
        try:
            yield
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"{self} cannot be read: {first_line(error)}.") from error

    def place(self, row):
        return f"row {row + 1}"

    def __str__(self):
        return "the clicks"


def open_clicks(clicks):
    """Whatever a caller may pass as clicks, as a `ClickLog` or `ClickTable`."""
    if isinstance(clicks, ClickLog | ClickTable):
        return clicks
    if isinstance(clicks, list | tuple) and not clicks:
        return ClickTable(pl.DataFrame())
    if isinstance(clicks, list | tuple) and clicks and isinstance(clicks[0], dict):
        return ClickTable(_columns(clicks))
    if isinstance(clicks, str | Path | list | tuple):
        return ClickLog(clicks)
    return ClickTable(clicks)


def _columns(rows):
    """Rows as a dict of columns."""
    names = list(rows[0])
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or set(row) != set(names):
            has = sorted(row) if isinstance(row, dict) else type(row).__name__
            raise ValueError(
                f"Row {number} has {has}, but row 1 has {sorted(names)}; give every "
                "row the same columns, None where there is no value."
            )
    return {name: [row[name] for row in rows] for name in names}


def _as_polars(clicks):
    if isinstance(clicks, pl.DataFrame):
        return clicks
    if isinstance(clicks, pl.LazyFrame):
        return clicks.collect(engine="streaming")
    if isinstance(clicks, pa.Table | pa.RecordBatch):
        _check_twice(clicks.schema.names)
        return pl.from_arrow(clicks)
    if isinstance(clicks, dict):
        columns = {name: _as_column(name, c) for name, c in clicks.items()}
        lengths = {name: len(c) for name, c in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The columns of the clicks differ in length: {lengths}.")
        return pl.DataFrame(columns)
    if type(clicks).__module__.split(".")[0] == "pandas":
        return _of_pandas(clicks)
    raise TypeError(
        f"Clicks cannot be read from a {type(clicks).__name__}; pass a path, a "
        "ClickLog, a polars, pyarrow or pandas table, a dict of columns, or a "
        "list of rows."
    )


def _of_pandas(clicks):
    """A pandas frame, in which NaN is "no value" in columns of any type."""
    _check_twice(map(str, clicks.columns))
    columns = []
    for name in clicks.columns:
        try:
            column = pl.from_pandas(clicks[name], nan_to_null=True)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise TypeError(
                f"Column {name!r} of the pandas table mixes types: {first_line(error)}."
            ) from error
        if column.dtype.is_float():
            whole = column.cast(pl.Int64, strict=False)
            if column.null_count() == len(column):
                column = pl.Series([None] * len(column))
            elif whole.cast(column.dtype).eq_missing(column).all():
                # Integers with a gap among them are floats in pandas.
                column = whole
        columns.append(column.alias(str(name)))
    return pl.DataFrame(columns)


def _check_twice(names):
    names = list(names)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"The clicks have two columns {name!r}: rename one.")


def _as_column(name, values):
    if isinstance(values, np.ndarray):
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise ValueError(
                f"Column {name!r} has shape {values.shape}; it should hold one "
                "value a click."
            )
        if values.dtype.kind in "SO":
            values = values.tolist()
    if isinstance(values, list) and any(isinstance(v, bytes) for v in values):
        try:
            values = [v.decode() if isinstance(v, bytes) else v for v in values]
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Column {name!r} holds bytes that are no UTF-8."
            ) from error
    if isinstance(values, list) and any(isinstance(v, str) for v in values):
        # What pandas writes for "no value" among texts.
        values = [None if isinstance(v, float) and v != v else v for v in values]
    _refuse_booleans_among_numbers(name, values)
    try:
        if _are_numbers(values):
            # polars takes the type from the first, and refuses 1.5 after 1.
            known = [None if value != value else value for value in values]
            if any(isinstance(value, (float, np.floating)) for value in known):
                return pl.Series(name, values, dtype=pl.Float64)
            return pl.Series(name, known)
        return pl.Series(name, values)
    except _NO_SERIES as error:
        raise TypeError(f"Column {name!r} mixes values of several types.") from error


# What polars ends in where values are of kinds that it has no column for.
_NO_SERIES = (
    TypeError,
    ValueError,
    OverflowError,
    AttributeError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)


def _refuse_booleans_among_numbers(name, values):
    # polars would take them for 0 and 1.
    if isinstance(values, list):
        kinds = {type(value) for value in values} - {type(None)}
        if len(kinds) > 1 and not kinds.isdisjoint((bool, np.bool_)):
            raise TypeError(f"Column {name!r} mixes values of several types.")


def _are_numbers(values):
    """Whether a list holds floats, and integers among them."""
    if not isinstance(values, list):
        return False
    kinds = {type(value) for value in values} - {type(None)}
    floats = {kind for kind in kinds if issubclass(kind, (float, np.floating))}
    return bool(floats) and all(
        issubclass(kind, (int, float, np.number)) and kind is not bool for kind in kinds
    )


# Types


def find_kinds(source, columns):
    """The kind of each raw column of a log that an ETL is to be fitted on."""
    if not source.rows():
        raise ValueError(f"There are no clicks to fit on: no row in {source}.")
    numbers = dict.fromkeys(columns.numbers, "float64")
    texts = source.text_kinds([columns.session, *columns.ids], columns.time)
    frame = source.scan(list(columns.raw_columns), {**numbers, **texts})
    with source.reading():
        schema = frame.lazy().collect_schema()
    kinds = {}
    for column in columns.raw_columns:
        kind = column_kind(schema[column])
        if column in numbers:
            kind = "float64"
        elif kind == "null" or (column == columns.time and kind == "datetime"):
            kind = "string"
        elif column != columns.time and kind not in ("int64", "string"):
            raise TypeError(
                f"Column {column!r} of {source} holds {kind} values; ids are "
                "integers or text. Cast it first."
            )
        kinds[column] = kind
    return kinds


_DTYPES = {"int64": pl.Int64, "float64": pl.Float64, "string": pl.String}


def typed(frame, kinds, time, source):
    """Casts the columns to their kinds, or says which one is of another kind.

    Empty text, NaN and the least integer become null. The column of times stays as it
    is otherwise: `microseconds` reads any kind.

    Args:
        frame: polars frame, lazy or not.
        kinds: dict. The kind of each raw column.
        time: string, or `None` where it is not known. The column of times.
        source: `ClickLog` or `ClickTable`.
    """
    if isinstance(frame, pl.DataFrame) and frame.is_empty():
        empty = {column: _DTYPES[kind] for column, kind in kinds.items()}
        return pl.DataFrame(schema={**empty, ROW: pl.UInt32})
    schema = frame.lazy().collect_schema()
    casts = []
    for column, kind in kinds.items():
        found = column_kind(schema[column])
        if column == time:
            if found in NO_VALUES:
                value = pl.col(column)
                if schema[column].is_decimal():
                    value = value.cast(pl.Float64)
                casts.append(as_null(value, found))
            continue
        number = kind == "float64" and found == "int64"
        if found not in (kind, "null") and not number:
            raise TypeError(
                f"Column {column!r} of {source} holds {found} values, "
                f"but it should hold {kind} values; cast it first."
            )
        value = pl.col(column)
        if schema[column] != _DTYPES[kind]:
            value = value.cast(_DTYPES[kind])
        casts.append(as_null(value, kind))
    return frame.with_columns(casts)


# Checks and order


def prepared(frame, columns, source):
    """Clicks by session and time, ties in the order of the rows; no repeats.

    Args:
        frame: polars `DataFrame` of typed columns, with `ROW`.
        columns: `ETLConfig`.
        source: `ClickLog` or `ClickTable`.
    """
    rows = frame[ROW]
    for column in (columns.session, columns.item, columns.time):
        if frame[column].null_count():
            bad = frame[column].is_null().arg_max()
            raise ValueError(
                f"Column {column!r} is null in {source.place(rows[bad])}; every "
                "click needs a session, a time and an item."
            )
    for column in columns.numbers:
        fine = frame[column].is_finite().fill_null(True)
        if not fine.all():
            bad = (~fine).arg_max()
            raise ValueError(
                f"Column {column!r} is {frame[column][bad]} in "
                f"{source.place(rows[bad])}; use null where a number is not known."
            )
    times = microseconds(frame[columns.time], columns.time_unit, source, rows)
    session, item = pl.col(columns.session), pl.col(columns.item)
    frame = frame.drop(columns.time).with_columns(times)
    frame = frame.sort(columns.session, TIME, ROW)
    if columns.drop_repeats:
        repeat = (item == item.shift(1)) & (session == session.shift(1))
        kept = frame.select((~repeat).fill_null(True)).to_series()
        if not kept.all():
            frame = _named_first(frame, columns.session).filter(kept)
    return frame


def _named_first(frame, session):
    """Gives each session's first click the first row that names the session.

    That row may be a repeat, and about to be dropped; but sessions are answered in the
    order in which the rows name them.
    """
    rows = frame[ROW].to_numpy().copy()
    starts = (frame[session] != frame[session].shift(1)).fill_null(True)
    first = np.flatnonzero(starts.to_numpy())
    rows[first] = np.minimum.reduceat(rows, first)
    return frame.with_columns(pl.Series(ROW, rows))
