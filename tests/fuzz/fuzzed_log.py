"""The log that is damaged, and the ETL that reads it."""

import numpy as np

import keras_t4r as t4r

SESSIONS, CLICKS = 5, 14


def clicks(rng):
    times = np.sort(rng.integers(1_600_000_000, 1_600_600_000, CLICKS))
    return {
        "s": [f"s{n}" for n in rng.integers(0, SESSIONS, CLICKS)],
        "t": times.tolist(),
        "i": rng.integers(100, 112, CLICKS).tolist(),
        "c": [f"c {n}" for n in rng.integers(0, 3, CLICKS)],
        "x": rng.normal(10, 3, CLICKS).round(3).tolist(),
    }


def make_etl(**options):
    options = {
        "categorical": ["c"],
        "continuous": ["x"],
        "time_unit": "s",
        "recency": False,
        "time_features": (),
        "drop_repeats": False,
        **options,
    }
    return t4r.SessionETL("s", "t", "i", **options)
