"""Null, NaN, empty text and the least integer say "no value" in any container."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from keras_t4r.data.etl.session_etl import SessionETL

LEAST = np.iinfo("int64").min


def as_csv(columns, path):
    pl.DataFrame(columns, strict=False).write_csv(path / "a.csv")
    return path / "a.csv"


def as_parquet(columns, path):
    pl.DataFrame(columns, strict=False).write_parquet(path / "a.parquet")
    return path / "a.parquet"


CONTAINERS = {
    "dict": lambda columns, path: columns,
    "rows": lambda columns, path: pl.DataFrame(columns, strict=False).to_dicts(),
    "polars": lambda columns, path: pl.DataFrame(columns, strict=False),
    "arrow": lambda columns, path: pa.table(columns),
    "pandas": lambda columns, path: pd.DataFrame(columns),
    "csv": as_csv,
    "parquet": as_parquet,
}


@pytest.fixture(params=CONTAINERS)
def hold(request, tmp_path):
    return lambda columns: CONTAINERS[request.param](columns, tmp_path)


def clicks(**columns):
    return {
        "s": ["a", "a", "a"],
        "t": [1, 2, 3],
        "i": ["x", "y", "x"],
        "c": ["p", "q", "p"],
        "n": [7, 8, 7],
        "x": [1.0, 2.0, 3.0],
        **columns,
    }


def etl():
    return SessionETL(
        "s",
        "t",
        "i",
        categorical=["c", "n"],
        continuous=["x"],
        time_unit="s",
        recency=False,
        time_features=(),
    ).fit(clicks())


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("c", ["p", None, "p"]),
        ("c", ["p", "", "p"]),
        ("n", [7, None, 7]),
        ("n", [7, LEAST, 7]),
        ("x", [1.0, None, 3.0]),
        ("x", [1.0, float("nan"), 3.0]),
    ],
)
def test_no_value_is_unknown_or_the_mean(column, values, hold):
    sessions = etl().transform(hold(clicks(**{column: values})))
    expected = [-1.0, 0.0, 1.0] if column == "x" else [2, 1, 2]
    assert sessions[column].to_pylist() == [expected]


@pytest.mark.parametrize("column", ["s", "i"])
@pytest.mark.parametrize("value", [None, ""])
def test_no_session_and_no_item_are_refused(column, value, hold):
    values = clicks()[column]
    values[1] = value
    with pytest.raises(ValueError, match=f"'{column}' is null in row 2"):
        etl().transform(hold(clicks(**{column: values})))


def test_no_time_is_refused(hold):
    with pytest.raises(ValueError, match=r"'t'.* row 2"):
        etl().transform(hold(clicks(t=[1, None, 3])))


def test_a_pandas_column_of_nothing_is_of_any_kind():
    frame = pd.DataFrame(clicks(c=[np.nan] * 3, n=[np.nan] * 3, x=[np.nan] * 3))
    sessions = etl().transform(frame)
    assert sessions["c"].to_pylist() == sessions["n"].to_pylist() == [[1, 1, 1]]
    assert sessions["x"].to_pylist() == [[0.0, 0.0, 0.0]]


def test_a_pandas_column_of_several_types_is_named():
    with pytest.raises(TypeError, match="Column 'c' mixes"):
        etl().transform(pd.DataFrame(clicks(c=["p", 7, "p"])))


@pytest.mark.parametrize("time", [-1e18, 1e18, -3_000_000_000, 8e9])
def test_times_of_no_likely_year_are_refused(time):
    with pytest.raises(ValueError, match="outside of the years 1900 to 2200"):
        etl().transform(clicks(t=[1, time, 3]))


@pytest.mark.parametrize("time", ["0001-01-01", "1899-12-31", "2999-01-01"])
def test_so_are_times_of_text(time):
    times = SessionETL("s", "t", "i", recency=False, time_features=())
    with pytest.raises(ValueError, match=f"row 2: '{time}' lies outside"):
        times.fit(clicks(t=["2020-01-01", time, "2020-01-02"]))


def test_nan_among_texts_is_no_value_as_in_pandas():
    etl = SessionETL("s", "t", "i", categorical=["c"], time_unit="s")
    clicks = {"s": [1, 1, 1], "t": [1, 2, 3], "i": ["a", "b", "c"]}
    expected = etl.fit_transform({**clicks, "c": ["x", None, "y"]})
    assert etl.fit_transform({**clicks, "c": ["x", float("nan"), "y"]}) == expected
    with pytest.raises(ValueError, match="'i' is null in row 2"):
        etl.transform({**clicks, "i": ["a", float("nan"), "c"], "c": ["x", "x", "x"]})
