"""Mean and deviation are exact, so neither order nor parts change a bit of them."""

import statistics
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from keras_t4r.data.etl.moments import Moments
from keras_t4r.data.etl.session_etl import SessionETL

RNG = np.random.default_rng(0)
NUMBERS = {
    "normal": RNG.normal(5, 3, 1001),
    "far from 0": RNG.normal(1e9, 1e-3, 501),
    "of all sizes": RNG.normal(size=300) * 10.0 ** RNG.integers(-300, 150, 300),
    "beyond squares": np.array([1e300, -1e300, 1.7e308]),
    "least": np.array([5e-324, 1e-310, 3e-320]),
    "whole": RNG.integers(-9, 9, 100).astype(float),
}


def moments(*parts):
    found = Moments()
    for part in parts:
        found.add(part)
    return found.result()


@pytest.mark.parametrize("name", NUMBERS)
def test_they_are_those_of_exact_fractions(name):
    numbers = NUMBERS[name]
    exact = [Fraction(x) for x in numbers.tolist()]
    mean, deviation = moments(numbers)
    assert mean == float(statistics.mean(exact))
    square = statistics.variance(exact)
    # The square of the deviation, which may be beyond float64.
    error = abs(Fraction(deviation) ** 2 / square - 1) if deviation > 1e-307 else 0
    assert error < 1e-15


@pytest.mark.parametrize("name", NUMBERS)
def test_order_and_parts_change_no_bit(name):
    whole = moments(NUMBERS[name])
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(NUMBERS[name])
        assert moments(*np.array_split(shuffled, seed + 2)) == whole


def test_nothing_and_constants():
    assert moments() == moments(np.zeros(0)) == (0.0, 1.0)
    assert moments(np.array([3.5])) == (3.5, 1.0)
    # Where sums of floats round, a constant's deviation is 1e-17 and not 0.
    assert moments(np.full(1000, 0.1)) == (0.1, 1.0)


def test_sessions_do_not_depend_on_how_clicks_were_read(tmp_path):
    rng = np.random.default_rng(1)
    log = pl.DataFrame(
        {
            "s": rng.integers(0, 300, 2000),
            "t": rng.integers(0, 10**6, 2000),
            "i": rng.integers(0, 40, 2000),
            "x": rng.lognormal(0, 4, 2000),
        }
    )
    log.write_parquet(tmp_path / "log.parquet")
    for name, rows in (("whole", None), ("parts", 300)):
        SessionETL(
            "s", "t", "i", continuous=["x"], time_unit="s", rows_in_memory=rows
        ).write(tmp_path / "log.parquet", tmp_path / name, progress=False)
    whole, parts = (
        {
            p.relative_to(tmp_path / n): p.read_bytes()
            for p in (tmp_path / n).rglob("*.*")
        }
        for n in ("whole", "parts")
    )
    assert whole.keys() == parts.keys() and len(whole) > 5
    for name in whole:
        assert whole[name] == parts[name], name
