"""Fits an ETL with NVTabular's own statistics."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq

from keras_t4r.data.clicks.prepared import TIME
from keras_t4r.data.etl.config import RECENCY
from keras_t4r.data.etl.state import ETLState
from keras_t4r.data.etl.time_features import window_origin
from keras_t4r.data.nvtabular.frames import quiet, to_dataset, to_pandas, without_nulls
from keras_t4r.data.nvtabular.graph import recency_node
from keras_t4r.schema.vocabulary import Vocabulary


def fit_state(parts, config, kinds):
    """As `etl_fit.fit_state`, with Categorify to count and Normalize to measure.

    Categorify ranks equal counts in no fixed order, so its counts are ranked
    again: by count, then by value.

    Args:
        parts: `ClickParts`. Prepared clicks, a session whole in one part.
        config: `ETLConfig`.
        kinds: dict. The kind of each raw column.

    Returns:
        An `ETLState`.
    """
    with tempfile.TemporaryDirectory(prefix="keras_t4r-nvtabular-") as folder, quiet():
        folder = Path(folder)
        clicks = _dask_frame(parts, config, folder)
        if not len(clicks):
            raise ValueError("There are no clicks to fit on.")
        sessions = clicks.map_partitions(_first_clicks, config.session)
        counts, moments = {}, {}
        by_click = (config.item, *config.categorical), config.continuous
        by_session = config.context_categorical, config.context_continuous
        for frame, (ids, numbers) in ((clicks, by_click), (sessions, by_session)):
            if ids:
                counts |= _count(frame, ids, folder)
            if numbers:
                moments |= _measure(frame, numbers)
        vocabularies = {
            name: Vocabulary.from_counts(
                name, counts[name], config.min_count if name == config.item else 1
            )
            for name in config.ids
        }
        first = clicks.groupby(config.item)[TIME].min().compute()
        state = ETLState(
            kinds=kinds,
            origin=window_origin(first.min(), config.window_parts[1]),
            moments=moments,
            vocabularies=vocabularies,
            first_times=ETLState.first_times_by_id(
                vocabularies[config.item],
                pl.Series(first.index.to_numpy()),
                pl.Series(first.to_numpy()),
            ),
        )
        if config.recency:
            ages = recency_node(config, state)
            state.moments[RECENCY] = _normalize(clicks, ages)[RECENCY]
        return state


def _dask_frame(parts, config, folder):
    """One partition a part: what Groupby needs, and what fits in memory."""
    import dask.dataframe as dd
    from dask import delayed

    if parts.count == 1:
        (frame,) = parts
        return dd.from_pandas(to_pandas(frame, config), npartitions=1, sort=False)
    paths = []
    for number, frame in enumerate(parts):
        paths.append(folder / f"clicks-{number}.parquet")
        to_pandas(frame, config).to_parquet(paths[-1])
        meta = to_pandas(frame[:0], config)
    return dd.from_delayed([delayed(pd.read_parquet)(p) for p in paths], meta=meta)


def _first_clicks(clicks, session):
    return clicks[clicks[session] != clicks[session].shift()]


def _count(frame, names, folder):
    """How often each value occurs: frames of `value` and `count`."""
    import nvtabular
    from nvtabular import ops

    categorify = ops.Categorify(out_path=str(folder))
    nvtabular.Workflow(list(names) >> categorify).fit(to_dataset(frame))
    counts = {}
    for name in names:
        table = pl.from_arrow(pq.read_table(categorify.categories[name]))
        table = table.select(value=name, count=f"{name}_size")
        counts[name] = without_nulls(table)
    return counts


def _measure(frame, names):
    """Mean and deviation of numbers, free of cancellation.

    Normalize sums squares, which loses all digits of numbers far from 0; so it
    gets them less a value of their own.
    """
    from nvtabular import ops

    pilots = {name: _any_value(frame, name) for name in names}
    near = list(names) >> ops.LambdaOp(lambda numbers: numbers - pilots[numbers.name])
    moments = _normalize(frame, near)
    return {n: (mean + pilots[n], std) for n, (mean, std) in moments.items()}


def _any_value(frame, name):
    for partition in frame[name].partitions:
        values = partition.compute().dropna()
        if len(values):
            return float(values.iloc[0])
    return 0.0


def _normalize(frame, node):
    import nvtabular
    from nvtabular import ops

    normalize = ops.Normalize()
    nvtabular.Workflow(node >> normalize).fit(to_dataset(frame))
    return {
        name: _usable(normalize.means[name], normalize.stds[name])
        for name in normalize.means
    }


def _usable(mean, deviation):
    """(0, 1) of nothing, deviation 1 of a constant: as `Moments.result`."""
    if np.isnan(mean):
        return 0.0, 1.0
    return mean, (1.0 if np.isnan(deviation) or deviation == 0 else deviation)
