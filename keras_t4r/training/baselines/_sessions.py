"""Windows and batches of sessions as flat arrays, which every baseline counts over."""

import os
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keras_t4r.arrays import off_device
from keras_t4r.data.column_names import check_once
from keras_t4r.data.loader.arrow_layouts import is_list, one_array
from keras_t4r.data.loader.session_files import find_parquet
from keras_t4r.files.parquet import open_parquet, reading_parquet
from keras_t4r.schema.encoded_ids import check_encoded

SECONDS_A_DAY = 86_400.0


class Sessions(NamedTuple):
    """The item ids of many sessions, one after the other, oldest item first.

    Args:
        items: int64 array of shape `(events,)`. The ids, special ids left out.
        lengths: int64 array of shape `(sessions,)`. Events of each session.
        days: float64 array of shape `(sessions,)`, or None. When each session
            started, in days.
        repeats: int. How often an item directly follows itself.
    """

    items: np.ndarray
    lengths: np.ndarray
    days: np.ndarray | None = None
    repeats: int = 0

    @property
    def rows(self) -> np.ndarray:
        """The session of each event."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def steps(self) -> np.ndarray:
        """How far each event is from its session's end: 1 for the last one."""
        ends = np.cumsum(self.lengths)
        return np.repeat(ends, self.lengths) - np.arange(len(self.items))

    def last_occurrences(self):
        """Each item of each session once, where it was seen last.

        Returns:
            Arrays `(row, item, step)`, ordered by row, then item.
        """
        rows, steps = self.rows, self.steps
        order = np.lexsort((steps, self.items, rows))
        rows, items, steps = rows[order], self.items[order], steps[order]
        first = np.ones(len(rows), bool)
        first[1:] = (rows[1:] != rows[:-1]) | (items[1:] != items[:-1])
        return rows[first], items[first], steps[first]


def read_sessions(
    window, column, first_id, cardinality, time_column, vocabulary=None
) -> Sessions:
    """Reads one window: a `pyarrow.Table`, or parquet by path, glob, folder or list."""
    own = {} if vocabulary is None else {column: vocabulary}
    table = _read_table(window, column, time_column, own)
    lists = one_array(table[column])
    if not is_list(lists.type) or not pa.types.is_integer(lists.type.value_type):
        raise TypeError(
            f"Column '{column}' must be a list of encoded item ids in every row; "
            f"its type is {lists.type}."
        )
    if lists.null_count:
        row = int(np.argmax(lists.is_null().to_numpy(zero_copy_only=False)))
        raise ValueError(
            f"Column '{column}', row {row}: the session is null; drop such rows."
        )
    values = lists.flatten()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    if values.null_count:
        event = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
        row = int(np.searchsorted(np.cumsum(lengths), event, side="right"))
        raise ValueError(
            f"Column '{column}', row {row}: an item is null; encode nulls as id 1."
        )
    items = values.to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    check_domain(items, rows, column, cardinality)
    keep = items >= first_id
    kept = np.bincount(rows[keep], minlength=len(lengths))
    again = (rows[1:] == rows[:-1]) & (items[1:] == items[:-1]) & keep[1:]
    days = _read_days(table, time_column)
    return Sessions(items[keep], kept, days, int(again.sum()))


def batch_sessions(ids, column, first_id, cardinality):
    """Takes a right-padded `(batch, time)` array of ids apart.

    Returns:
        The `Sessions`, and the last id of each, special or not; 0 if it has none.
    """
    ids = off_device(f"Column '{column}'", ids)
    try:
        ids = np.asarray(ids)
    except ValueError:
        raise ValueError(
            f"Column '{column}': sessions must be one rectangular (batch, time) "
            "array; pad shorter ones with 0 on the right."
        ) from None
    if ids.ndim != 2:
        raise ValueError(
            f"Column '{column}' must have the shape (batch, time); got {ids.shape}."
        )
    if ids.size and not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"Column '{column}' must hold integer ids; got {ids.dtype}.")
    ids = ids.astype(np.int64)
    keep = ids >= first_id
    rows = np.repeat(np.arange(len(ids)), ids.shape[1])
    check_domain(ids.ravel(), rows, column, cardinality)
    last = np.zeros(len(ids), np.int64)
    row, place = np.nonzero(ids)
    last[row] = ids[row, place]
    return Sessions(ids[keep], keep.sum(axis=1)), last


def check_domain(items, rows, column, cardinality) -> None:
    """Raises a `ValueError` that names the first id outside `[0, cardinality)`."""
    bad = (items < 0) | (items >= cardinality)
    if bad.any():
        event = int(np.argmax(bad))
        raise ValueError(
            f"Column '{column}', row {int(rows[event])}: item id {int(items[event])} "
            f"is outside the domain 0..{cardinality - 1}; encode with the schema's "
            "vocabulary, or give the schema that was written with these sessions."
        )


def _read_table(window, column, time_column, vocabularies) -> pa.Table:
    if isinstance(window, pa.Table):
        check_encoded(window.schema, vocabularies, "the window", whose="schema")
        table = window
    else:
        tables = [
            _read_file(path, column, time_column, vocabularies)
            for path in _paths(window)
        ]
        if len({tuple(sorted(t.column_names)) for t in tables}) > 1:
            raise ValueError(
                f"Only some files of the window have the column '{time_column}': "
                "write it into all or none."
            )
        table = pa.concat_tables(tables, promote_options="permissive")
    if column not in table.column_names:
        raise ValueError(
            f"The window has no column '{column}'; it has {table.column_names}."
        )
    check_once(table.column_names, "The window", [column, time_column])
    return table


def _paths(window) -> list[str]:
    if not isinstance(window, (str, os.PathLike, list, tuple)):
        raise TypeError(
            "A window must be a pyarrow.Table, or the path(s) of parquet files; got "
            f"{type(window).__name__}."
        )
    return find_parquet(window)


def _read_file(path, column, time_column, vocabularies) -> pa.Table:
    with open_parquet(path) as file, reading_parquet(path):
        names = file.schema_arrow.names
        if column not in names:
            raise ValueError(f"File '{path}' has no column '{column}'; it has {names}.")
        check_once(names, path, [column, time_column])
        check_encoded(file.schema_arrow, vocabularies, path, whose="schema")
        wanted = [name for name in (column, time_column) if name in names]
        return file.read(columns=wanted)


def _read_days(table, time_column) -> np.ndarray | None:
    if time_column is None or time_column not in table.column_names:
        return None
    start = one_array(table[time_column])
    if pa.types.is_timestamp(start.type):
        start = start.cast(pa.timestamp("us", start.type.tz), safe=False)
        start, unit = start.cast(pa.int64()), 1e6
    elif pa.types.is_integer(start.type) or pa.types.is_floating(start.type):
        unit = 1.0
    else:
        raise TypeError(
            f"Column '{time_column}' must hold seconds or timestamps, one a session; "
            f"its type is {start.type}."
        )
    seconds = start.to_numpy(zero_copy_only=False).astype(np.float64) / unit
    if not np.isfinite(seconds).all():
        row = int(np.argmin(np.isfinite(seconds)))
        raise ValueError(f"Column '{time_column}', row {row}: no finite time.")
    return seconds / SECONDS_A_DAY
