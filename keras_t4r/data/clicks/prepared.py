"""Clicks typed, checked, in order of session and time."""

import numpy as np
import polars as pl

from keras_t4r.data.clicks.click_log import ROW
from keras_t4r.data.clicks.no_values import NO_VALUES, as_null
from keras_t4r.data.clicks.times import TIME, column_kind, microseconds

# Types


def find_kinds(source, columns):
    """The kind of each raw column of a log that an ETL is to be fitted on."""
    if not source.rows():
        raise ValueError(f"There are no clicks to fit on: no row in {source}.")
    numbers = dict.fromkeys(columns.numbers, "float64")
    texts = source.text_kinds([columns.session, *columns.ids], columns.time)
    kinds = {**numbers, **texts}
    frame = source.scan(list(columns.raw_columns), kinds, columns.time)
    with source.reading():
        schema = frame.lazy().collect_schema()
    kinds = {}
    for column in columns.raw_columns:
        kind = column_kind(schema[column])
        if column in numbers:
            kind = "float64"
        elif kind == "boolean" and column != columns.time:
            kind = "string"
        elif kind == "null" or (column == columns.time and kind == "datetime"):
            kind = "string"
        elif column != columns.time and kind not in ("int64", "string"):
            raise TypeError(
                f"Column {column!r} of {source} holds {kind} values; ids are "
                f"integers or text. {_cast(schema[column])}"
            )
        kinds[column] = kind
    return kinds


def _cast(dtype):
    if dtype.is_float():
        return (
            "A float tells whole numbers apart up to 2**53 (float32: 2**24) only: "
            "write them as integers."
        )
    return "Cast it first."


_DTYPES = {"int64": pl.Int64, "float64": pl.Float64, "string": pl.String}
# Kinds that a column may have beside its own.
_TAKEN = {("float64", "int64"), ("float64", "boolean"), ("string", "boolean")}


def typed(frame, kinds, time, source):
    """Casts the columns to their kinds, or says which one is of another kind.

    Empty text, NaN and the least integer become null. Booleans are no integers: as ids
    they are the texts `true` and `false`, as CSV has them, and 1 and 0 as numbers. The
    column of times stays as it is otherwise: `microseconds` reads any kind.

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
        other = (kind, found) in _TAKEN
        if found not in (kind, "null") and not other:
            raise TypeError(
                f"Column {column!r} of {source} holds {found} values, "
                f"but it should hold {kind} values. {_cast(schema[column])}"
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
