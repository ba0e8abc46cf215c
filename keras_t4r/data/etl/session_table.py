"""Prepared clicks → one row a session, encoded."""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from keras_t4r.data.clicks.click_log import ROW
from keras_t4r.data.clicks.times import TIME
from keras_t4r.data.etl.config import LENGTH, RECENCY, START, WINDOW
from keras_t4r.data.etl.time_features import log_age, time_feature, window_index
from keras_t4r.schema import LARGEST_NUMBER
from keras_t4r.schema.vocabulary import arrow


def session_starts(sessions):
    """Marks the first click of each session in a column in session order."""
    return (sessions != sessions.shift(1)).fill_null(True).to_numpy()


def session_table(clicks, config, state, min_length, order):
    """Cuts, encodes and lists.

    Only clicks that end up in a list are gathered and encoded.

    Args:
        clicks: polars `DataFrame`. Prepared clicks of whole sessions.
        config: `ETLConfig`.
        state: `ETLState`.
        min_length: int. Sessions with fewer clicks are left out.
        order: `"start"` for sessions by start and then id, `"row"` for
            sessions in the order in which the clicks name them first.

    Returns:
        A `pyarrow.Table`, one row a session.
    """
    first = np.flatnonzero(session_starts(clicks[config.session]))
    lengths = np.diff(first, append=len(clicks))
    times = clicks[TIME].to_numpy()
    if order == "row":
        rows = clicks[ROW].to_numpy()
        rank = np.argsort(np.minimum.reduceat(rows, first)) if len(first) else first
    else:
        # Sessions stand in the order of their ids already.
        rank = np.argsort(times[first], kind="stable")
    rank = rank[lengths[rank] >= min_length]
    first, lengths = first[rank], lengths[rank]

    kept = np.minimum(lengths, config.max_length)
    offsets = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    newest = np.repeat(first + lengths - kept - offsets[:-1], kept)
    events = newest + np.arange(offsets[-1])

    columns = {config.session: arrow(clicks[config.session].gather(first))}
    list_offsets = pa.array(offsets)
    for name, flat in _event_values(clicks, events, config, state).items():
        columns[name] = pa.ListArray.from_arrays(list_offsets, pa.array(flat))
    for name in config.context_categorical:
        ids = state.vocabularies[name].encode(clicks[name].gather(first))
        columns[name] = pa.array(ids)
    for name in config.context_continuous:
        raw = clicks[name].gather(first)
        columns[name] = pa.array(_standardised(raw, state.moments[name]))
    starts = times[first]
    windows = window_index(starts, state.origin, config.window_parts[0])
    columns[WINDOW] = pa.array(windows)
    columns[LENGTH] = pa.array(lengths.astype(np.int32))
    columns[START] = pa.array(starts).cast(pa.timestamp("us"))
    return pa.table(columns)


def check_numbers(table, session):
    """Raises where a number, as standardised, is more than a model can read.

    Args:
        table: `pyarrow.Table` of sessions.
        session: string. The column of session ids.
    """
    for name in table.column_names:
        column = table[name]
        kind = column.type
        listed = pa.types.is_list(kind)
        if not pa.types.is_float32(kind.value_type if listed else kind):
            continue
        values = pc.list_flatten(column) if listed else column
        fine = pc.less_equal(pc.abs(values), LARGEST_NUMBER)  # False for NaN
        if pc.all(fine).as_py() in (True, None):
            continue
        row = place = pc.index(fine, False).as_py()
        if listed:
            row = pc.list_parent_indices(column)[place].as_py()
        raise ValueError(
            f"Column {name!r} of session {table[session][row].as_py()!r} holds a "
            "number that is far out of all that the ETL was fitted on, beyond what a "
            "model can read; use null where a number is not known."
        )


def _event_values(clicks, events, config, state):
    """Flat values of every list column, in the order of the output."""
    values = {}
    for name in (config.item, *config.categorical):
        values[name] = state.vocabularies[name].encode(clicks[name].gather(events))
    for name in config.continuous:
        raw = clicks[name].gather(events)
        values[name] = _standardised(raw, state.moments[name])
    times = clicks[TIME].to_numpy()[events]
    for name in config.time_features:
        values[name] = time_feature(name, times)
    if config.recency:
        ages = log_age(times, state.first_times[values[config.item]])
        values[RECENCY] = _standardised(pl.Series(ages), state.moments[RECENCY])
    return values


def _standardised(numbers, moments):
    """(x - mean) / deviation as float32; null becomes the mean, hence 0."""
    mean, deviation = moments
    values = numbers.fill_null(mean).to_numpy()
    with np.errstate(over="ignore"):
        return ((values - mean) / deviation).astype(np.float32)
