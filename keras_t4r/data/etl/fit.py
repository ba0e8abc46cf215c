"""One or two passes over prepared clicks → the fitted state of an ETL."""

import numpy as np
import polars as pl

from keras_t4r.data.clicks.times import TIME
from keras_t4r.data.etl.config import RECENCY
from keras_t4r.data.etl.moments import Moments
from keras_t4r.data.etl.session_table import session_starts
from keras_t4r.data.etl.state import ETLState
from keras_t4r.data.etl.time_features import log_age, window_origin
from keras_t4r.schema.vocabulary import Vocabulary


def fit_state(parts, config, kinds):
    """Counts values, sums numbers, finds first times.

    Args:
        parts: iterable of polars `DataFrame`, twice iterable. Prepared
            clicks; the clicks of one session are all in one part.
        config: `ETLConfig`.
        kinds: dict. The kind of each raw column.
    """
    counts = {name: [] for name in config.ids}
    moments = {name: Moments() for name in config.numbers}
    first_time = None
    for clicks in parts:
        if clicks.is_empty():
            continue
        starts = session_starts(clicks[config.session])
        sessions = clicks[np.flatnonzero(starts)]
        for name in config.ids:
            rows = sessions if name in config.context_categorical else clicks
            aggregates = [pl.len().alias("count")]
            if name == config.item:
                aggregates.append(pl.col(TIME).min())
            counted = rows.lazy().group_by(pl.col(name).alias("value"))
            counts[name].append(counted.agg(aggregates).collect())
        for name in config.numbers:
            rows = sessions if name in config.context_continuous else clicks
            moments[name].add(rows[name].drop_nulls().to_numpy())
        earliest = clicks[TIME].min()
        first_time = earliest if first_time is None else min(first_time, earliest)
    if first_time is None:
        raise ValueError("There are no clicks to fit on.")

    vocabularies = {}
    for name in config.ids:
        merged = pl.concat(counts[name])
        if len(counts[name]) > 1:
            merged = merged.group_by("value").agg(
                pl.col("count").sum(), *([pl.col(TIME).min()] * (name == config.item))
            )
        min_count = config.min_count if name == config.item else 1
        vocabularies[name] = Vocabulary.from_counts(name, merged, min_count)
        if name == config.item:
            items = merged
    first_times = ETLState.first_times_by_id(
        vocabularies[config.item], items["value"], items[TIME]
    )
    if config.recency:
        moments[RECENCY] = Moments()
        for clicks in parts:
            ids = vocabularies[config.item].encode(clicks[config.item])
            ages = log_age(clicks[TIME].to_numpy(), first_times[ids])
            moments[RECENCY].add(ages)
    return ETLState(
        kinds=kinds,
        origin=window_origin(first_time, config.window_parts[1]),
        moments={name: m.result() for name, m in moments.items()},
        vocabularies=vocabularies,
        first_times=first_times,
    )
