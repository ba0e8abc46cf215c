"""Clicks that are in memory, in any kind of table."""

import os
from contextlib import contextmanager

import polars as pl

from keras_t4r.data.clicks.click_log import ROW, ClickLog, check_columns
from keras_t4r.data.clicks.columns import as_series, check_column, check_int64
from keras_t4r.data.clicks.table_columns import is_rows, table_columns
from keras_t4r.files.sentences import first_line


class ClickTable:
    """Clicks that are in memory, behind the same face as `ClickLog`.

    A column is converted when it is read: what nobody reads may be of any type.

    Args:
        clicks: polars, pyarrow or pandas table, dict of columns, or list of rows.
        rows: int. How many clicks there are, where no column says it. Default: none.
    """

    files = ()

    def __init__(self, clicks, rows=0):
        self._columns = _columns(clicks)
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The columns of the clicks differ in length: {lengths}.")
        self._rows = next(iter(lengths.values()), rows)
        self._read = {}

    def names(self):
        return list(self._columns)

    def rows(self):
        return self._rows

    def text_kinds(self, columns, time):
        return {}

    def scan(self, columns, kinds, time=None):
        if not self._columns and not self._rows:
            # An empty list, which names no columns either.
            return pl.DataFrame(schema=dict.fromkeys([*columns, ROW], pl.Null))
        check_columns(columns, self.names(), "the clicks")
        for name in columns:
            if name not in self._read:
                # Other times of the same log may well be fractions.
                self._read[name] = as_series(name, self._columns[name], name != time)
        frame = pl.DataFrame([self._read[name] for name in columns])
        return frame.with_row_index(ROW)

    @contextmanager
    def reading(self, kinds=None, time=None):
        """Turns what the engine says of a value into one sentence; see `ClickLog`."""
        try:
            yield
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            kinds = kinds or {}
            check_int64(self.scan(list(kinds), kinds, time).lazy(), kinds, self)
            raise ValueError(f"{self} cannot be read: {first_line(error)}.") from error

    def place(self, row):
        return f"row {row + 1}"

    def __str__(self):
        return "the clicks"


def open_clicks(clicks):
    """Whatever a caller may pass as clicks, as a `ClickLog` or `ClickTable`."""
    if isinstance(clicks, ClickLog | ClickTable):
        return clicks
    if isinstance(clicks, str | os.PathLike):
        return ClickLog(clicks)
    if is_rows(clicks):
        return ClickTable(clicks, len(clicks))
    if isinstance(clicks, list | tuple):
        if isinstance(clicks[0], str | os.PathLike):
            return ClickLog(clicks)
        raise TypeError(
            f"Row 1 of the clicks is of type {type(clicks[0]).__name__}, which names "
            "no columns; pass a list of dicts or named tuples, one a row, or a list of "
            "paths."
        )
    return ClickTable(clicks)


def _columns(clicks):
    columns = table_columns(clicks, "clicks")
    if columns is None:
        raise TypeError(
            f"Clicks cannot be read from a {type(clicks).__name__}; pass a path, a "
            "ClickLog, a polars, pyarrow or pandas table, a dict of columns, or a "
            "list of rows."
        )
    return {name: check_column(name, column) for name, column in columns.items()}
