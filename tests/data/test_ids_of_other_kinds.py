"""Booleans, integers beyond int64, and columns that can be read once."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.schema import Vocabulary
from keras_t4r.serving.triton_client import _arrays


def etl(**options):
    options = {"recency": False, "time_features": (), "time_unit": "s", **options}
    return SessionETL("s", "t", "i", drop_repeats=False, **options)


def clicks(**columns):
    return {"s": [1, 1, 1], "t": [1, 2, 3], "i": [7, 8, 9], **columns}


def as_parquet(columns, folder):
    pl.DataFrame(columns).write_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def as_csv(columns, folder):
    pl.DataFrame(columns).write_csv(folder / "a.csv")
    return folder / "a.csv"


MAKES = {
    "dict": lambda columns, folder: columns,
    "numpy": lambda columns, folder: {n: np.array(c) for n, c in columns.items()},
    "pandas": lambda columns, folder: pd.DataFrame(columns),
    "arrow": lambda columns, folder: pl.DataFrame(columns).to_arrow(),
    "parquet": as_parquet,
}


@pytest.fixture(params=MAKES)
def make(request, tmp_path):
    return lambda **columns: MAKES[request.param](clicks(**columns), tmp_path)


def test_booleans_are_no_times(make):
    with pytest.raises(TypeError, match=r"'t' of .* holds boolean values; times are"):
        etl().fit(make(t=[True, False, True]))
    with pytest.raises(TypeError, match=r"'t' of .* holds boolean values; times are"):
        etl().fit(clicks()).transform(make(t=[True, False, True]))


@pytest.mark.parametrize("column", ["s", "i", "c"])
def test_booleans_are_no_integers(column, make):
    fitted = etl(categorical=["c"]).fit(clicks(c=[0, 1, 1]))
    with pytest.raises(TypeError, match=f"'{column}' .* holds boolean .* int64 values"):
        fitted.transform(make(**{"c": [1, 1, 0], column: [True, True, False]}))


def test_a_column_of_booleans_has_two_ids(make, tmp_path):
    log = make(c=[True, False, True])
    fitted = etl(categorical=["c"]).fit(log)
    assert fitted.transform(log)["c"].to_pylist() == [[2, 3, 2]]
    assert fitted.input_columns["c"] == "string"
    csv = as_csv(clicks(c=[True, False, True]), tmp_path)
    assert fitted.transform(csv)["c"].to_pylist() == [[2, 3, 2]]
    with pytest.raises(TypeError, match=r"'c' .* holds int64 .* string values"):
        fitted.transform(make(c=[1, 0, 1]))
    gap = clicks(c=[True, None, False])
    assert fitted.transform(gap)["c"].to_pylist() == [[2, 1, 3]]
    vocabulary = fitted.vocabulary("c")
    for values in ([True, False], np.array([True, False]), pl.Series([True, False])):
        assert vocabulary.encode(values).tolist() == [2, 3]
    with pytest.raises(TypeError, match="string; its vocabulary holds int64"):
        Vocabulary([0, 1], name="c").encode([True])


def test_booleans_are_numbers(make):
    table = etl(continuous=["x"]).fit_transform(make(x=[True, False, True]))
    assert table == etl(continuous=["x"]).fit_transform(clicks(x=[1, 0, 1]))


def test_a_request_takes_no_boolean_for_an_integer():
    kinds = {"i": "int64"}
    with pytest.raises(TypeError, match=r"'i' .* holds boolean values"):
        _arrays({"i": [True]}, kinds)
    found = _arrays({"c": [True, None]}, {"c": "string"})
    assert found["c"].tolist() == [b"true", b""]


@pytest.mark.parametrize("column", ["s", "i", "c"])
@pytest.mark.parametrize("rows", [None, 1])
def test_integers_beyond_int64_are_named_with_the_remedy(column, rows, make):
    log = make(**{"c": [1, 2, 3], column: pl.Series([1, 2, 2**63], dtype=pl.UInt64)})
    with pytest.raises(ValueError) as error:
        etl(categorical=["c"], rows_in_memory=rows).fit(log)
    for part in (f"'{column}'", "row 3", str(2**63), "give the column as text"):
        assert part in str(error.value)
    assert etl().fit(make(i=[1, 2, 2**63 - 1])).input_columns["i"] == "int64"


def test_so_are_those_of_several_files(tmp_path):
    for name, items in (("a", [1]), ("b", [2**63])):
        table = pl.DataFrame({"s": [1], "t": [1], "i": items})
        table.write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(ValueError, match=r"row 1 of .*b\.parquet.* as text"):
        etl().fit(tmp_path)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**64, 2**127, 2**200])
def test_integers_of_any_size_get_a_sentence(value):
    with pytest.raises(ValueError, match=r"beyond .* as text"):
        etl().fit(clicks(i=[1, 2, value]))
    with pytest.raises(ValueError, match=r"beyond .* as text"):
        _arrays({"i": [value]}, {"i": "int64"})
    with pytest.raises(TypeError, match=r"beyond int64: .* as text"):
        Vocabulary([1, 2, value])


@pytest.mark.parametrize(
    "column",
    [lambda: (k for k in (7, 8, 9)), lambda: map(int, "789"), lambda: iter([7, 8, 9])],
)
def test_what_can_be_read_once_is_no_column(column):
    with pytest.raises(TypeError, match=r"'i' of the clicks is a .* only once: pass a"):
        etl().fit(clicks(i=column()))
    assert etl().fit(clicks(i={7: 1, 8: 1, 9: 1}.keys())).schema.item_id == "i"


STRANGE = {
    "decimal256": pa.array([1]).cast(pa.decimal256(50, 2)),
    "dictionary": pa.array([1]).cast(pa.decimal256(50, 2)).dictionary_encode(),
    "interval": pa.array([pa.MonthDayNano([1, 1, 1])]),
    "years": np.array(["2020"], "datetime64[Y]"),
    "complex": np.array([1j]),
}


@pytest.mark.parametrize("values", STRANGE.values(), ids=STRANGE)
def test_values_of_strange_types_get_a_sentence(values, capfd):
    for make in (Vocabulary, Vocabulary([7]).encode):
        with pytest.raises(TypeError, match=r"'value' .* integers or text"):
            make(values)
    with pytest.raises(TypeError, match="'i' "):
        etl().fit({"s": [1], "t": [1], "i": values})
    assert "panic" not in capfd.readouterr().err
