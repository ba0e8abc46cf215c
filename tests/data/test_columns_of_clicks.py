"""A column of clicks means the same in any kind of table, or is refused."""

import dataclasses
import datetime as dt
import decimal
from collections import namedtuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.etl.session_etl import SessionETL

NAN, NOON = float("nan"), dt.datetime(2024, 5, 1, 12)
NOW = 1_700_000_000


def etl(**options):
    options = {"recency": False, "time_features": (), **options}
    options["drop_repeats"] = False
    return SessionETL("s", "t", "i", **options)


def clicks(**columns):
    return {"s": [1, 1, 1], "t": [1, 2, 3], "i": [7, 8, 9], **columns}


def category(values):
    table = etl(time_unit="s", categorical=["c"]).fit_transform(clicks(c=values))
    return table["c"].to_pylist()


def starts(times):
    table = {"s": [1, 2], "t": times, "i": [7, 8]}
    return etl().fit_transform(table)["start"].to_pylist()


@pytest.mark.parametrize(
    "values",
    [
        np.array([5, NAN, 6]),
        np.array([5, None, 6], object),
        np.ma.masked_array([5, 0, 6], mask=[0, 1, 0]),
        pd.Series([5, None, 6]),
        pd.Series([5, pd.NA, 6], dtype=object),
        (5, NAN, 6),
        [5, pd.NA, 6],
        [5, np.ma.masked, 6],
        ("a", NAN, "b"),
        ["a", pd.NA, "b"],
        pd.Series(["a", None, "b"]),
        pa.array(["a", None, "b"]),
    ],
)
def test_a_gap_among_ids_is_no_value(values):
    assert category(values) == [[2, 1, 3]]
    assert category(pd.Series(values)) == [[2, 1, 3]]


@pytest.mark.parametrize(
    "container", [list, tuple, lambda v: pd.Series(v, dtype=object)]
)
@pytest.mark.parametrize("values", [(5, True, 1), (5, "7", 1), (5, NOON, 1)])
def test_values_of_several_types_are_refused_in_any_container(values, container):
    for table in (clicks(c=container(values)), pd.DataFrame(clicks(c=values))):
        with pytest.raises(TypeError, match="Column 'c' mixes values"):
            etl(time_unit="s", categorical=["c"]).fit(table)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_float32_are_refused_in_any_unit_and_container(unit):
    scale = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    times = np.array([NOW, NOW + 30, NOW + 60], "float64") * scale
    times = times.astype("float32")
    for table in (
        clicks(t=times),
        clicks(t=list(times)),
        clicks(t=pd.Series(times)),
        pd.DataFrame(clicks(t=times)),
        pl.DataFrame(clicks(t=times)),
    ):
        with pytest.raises(TypeError, match=r"'t' .* float32, which tells times two"):
            etl(time_unit=unit).fit(table)


@pytest.mark.parametrize(("bits", "limit"), [(32, 2**24), (64, 2**53)])
def test_floats_that_stand_for_several_ids_are_refused(bits, limit):
    below = np.array([1, 2, limit - 1], f"float{bits}")
    for beyond in (below + 1, -below - 1):
        for table in (clicks(i=beyond), pd.DataFrame(clicks(i=beyond))):
            with pytest.raises(TypeError, match=r"'i' .* up to 2\*\*53"):
                etl(time_unit="s").fit(table)
    fitted = etl(time_unit="s").fit(pd.DataFrame(clicks(i=below)))
    assert limit - 1 in fitted.vocabulary("i").values.to_list()


@pytest.mark.parametrize("unit", ["M", "D", "h", "m", "s", "ms", "us", "ns", "ps"])
def test_numpy_times_of_any_unit_are_taken(unit):
    times = np.array(["1970-02-01", "1970-03-01"], f"datetime64[{unit}]")
    expected = [dt.datetime(1970, 2, 1), dt.datetime(1970, 3, 1)]
    assert starts(times) == starts(list(times)) == expected


@pytest.mark.parametrize(
    "times",
    [
        [dt.date(2024, 5, 1), NOON],
        [dt.date(2024, 5, 1), np.datetime64("2024-05-01T12:00")],
        [pd.Timestamp("2024-05-01"), NOON],
        pd.Series([dt.date(2024, 5, 1), NOON], dtype=object),
    ],
)
def test_dates_among_times_are_their_midnights(times):
    assert starts(times) == [dt.datetime(2024, 5, 1), NOON]


@pytest.mark.parametrize("gap", [pd.NaT, None, np.datetime64("NaT")])
def test_no_time_is_named_whatever_says_so(gap):
    for times in ([NOON, gap, NOON], [pd.Timestamp(NOON), gap, pd.Timestamp(NOON)]):
        for table in (clicks(t=times), pd.DataFrame(clicks(t=times))):
            with pytest.raises(ValueError, match="'t' is null in row 2"):
                etl().fit(table)


@pytest.mark.parametrize(
    "numbers",
    [
        pd.Series(pd.arrays.SparseArray([1.0, 0.0, 2.5])),
        [decimal.Decimal("1"), 0, 2.5],
        (1, 0, 2.5),
        np.array([1, 0, 2.5], np.float16),
    ],
)
def test_numbers_of_any_make_are_taken(numbers):
    make = etl(time_unit="s", continuous=["x"]).fit_transform
    expected = make(clicks(x=[1.0, 0.0, 2.5]))
    assert make(clicks(x=numbers)) == expected
    assert make(pd.DataFrame(clicks(x=numbers))) == expected


@pytest.mark.parametrize("ids", [[np.uint8(7), 300, 7], [300, np.int8(7), 300]])
def test_integers_of_several_types_are_integers(ids):
    sessions = etl(time_unit="s").fit_transform(clicks(i=ids))
    assert sorted(sessions["i"].to_pylist()[0]) == [2, 2, 3]


@pytest.mark.parametrize("as_row", [namedtuple, dataclasses.make_dataclass])
def test_rows_may_name_their_values_in_any_way(as_row):
    rows = pl.DataFrame(clicks()).to_dicts()
    make = etl(time_unit="s").fit_transform
    assert make([as_row("Click", row)(**row) for row in rows]) == make(rows)
    for row, has in ((5, "int"), ({"s": 1}, r"\['s'\]")):
        with pytest.raises(ValueError, match=f"Row 4 of the clicks has {has}, but"):
            make([*rows, row])
    for row in (5, (1, 2, 7), as_row):
        with pytest.raises(TypeError, match=r"Row 1 of the clicks is .*names no"):
            make([row])


STRANGE = {
    "run_end_encoded": pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]),
    "month_day_nano_interval": pa.array([pa.MonthDayNano([1, 1, 1])] * 3),
    "Nowhere": pa.array([NOW] * 3, pa.timestamp("s", "Nowhere/X")),
    "decimal256": pa.array([decimal.Decimal("1.5")] * 3, pa.decimal256(50, 2)),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_arrow_types_that_cannot_be_read_are_named_if_they_are_read(kind, capfd):
    table = pa.table(clicks(c=STRANGE[kind]))
    assert etl(time_unit="s").fit_transform(table).num_rows == 1
    for options in ({"categorical": ["c"]}, {"continuous": ["c"]}):
        with pytest.raises(TypeError, match=f"'c' of the clicks is of .*{kind}"):
            etl(time_unit="s", **options).fit(table)
    assert "panic" not in capfd.readouterr().err


def test_so_are_those_of_parquet_files(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(clicks(c=STRANGE["decimal256"])), path)
    assert etl(time_unit="s").fit_transform(path).num_rows == 1
    with pytest.raises(TypeError, match=r"'c' of .*a\.parquet is of .*decimal256"):
        etl(time_unit="s", continuous=["c"]).fit(path)


@pytest.mark.parametrize("column", [5, "abc", {1, 2}, None])
def test_what_is_no_column_is_refused(column):
    with pytest.raises(TypeError, match=f"'i' .* {type(column).__name__}; give a list"):
        etl(time_unit="s").fit(clicks(i=column))


@pytest.mark.parametrize("make", [clicks, lambda **c: pd.DataFrame(clicks(**c))])
def test_whole_times_say_nothing_of_others(make, tmp_path):
    fitted = etl(time_unit="s").fit(make(t=np.array([1.0, 2.0, 3.0])))
    pl.DataFrame(clicks(t=[0.5, 1.5, 2.5])).write_csv(tmp_path / "a.csv")
    assert fitted.transform(tmp_path / "a.csv")["length"].to_pylist() == [3]


@pytest.mark.parametrize("unit", ["s", "m", "us"])
def test_numpy_times_of_no_likely_year_are_refused(unit):
    for far in (2**62, 10**17, 10**16):
        times = np.array([1, far, 3], "int64").view(f"datetime64[{unit}]")
        with pytest.raises(ValueError, match=r"'t'.* (lies outside|too far from 1970)"):
            etl().fit(clicks(t=times))


@pytest.mark.parametrize("dtype", ["category", "Int64", "Float64"])
def test_arrays_of_pandas_are_taken(dtype):
    values = pd.array([5, None, 6], dtype=dtype)
    assert category(values) == category(pd.Series(values)) == [[2, 1, 3]]


# Several files


def two_files(folder, **columns):
    for number in range(2):
        table = clicks(**{name: pair[number] for name, pair in columns.items()})
        pl.DataFrame(table).write_parquet(folder / f"{number}.parquet")
    return folder


def test_files_may_tell_times_in_several_zones(tmp_path):
    zones = ["UTC", "Europe/Berlin", None]
    times = {z: pl.Series([NOON] * 3).dt.replace_time_zone(z) for z in zones}
    hour = dt.timedelta(hours=1)
    for pair, starts in {
        ("UTC", "Europe/Berlin"): NOON - 2 * hour,
        (None, "UTC"): NOON,
        ("Europe/Berlin", None): NOON - 2 * hour,
    }.items():
        log = two_files(tmp_path, t=[times[zone] for zone in pair])
        sessions = etl().fit_transform(log)
        assert sessions["start"].to_pylist() == [starts]
        assert sessions["length"].to_pylist() == [6]


def test_files_may_have_several_lists_of_categories(tmp_path):
    texts = [pl.Series(list(t), dtype=pl.Enum(sorted(set(t)))) for t in ("aba", "bcb")]
    log = two_files(tmp_path, c=texts)
    sessions = etl(time_unit="s", categorical=["c"]).fit_transform(log)
    assert sorted(sessions["c"].to_pylist()[0]) == [2, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("known", [[5, 6, 5], ["a", "b", "a"]])
@pytest.mark.parametrize("first", [True, False])
def test_a_column_of_nothing_in_one_file_is_of_any_kind(known, first, tmp_path):
    pair = [pl.Series([None] * 3), pl.Series(known)]
    log = two_files(tmp_path, c=pair if first else pair[::-1])
    sessions = etl(time_unit="s", categorical=["c"]).fit_transform(log)
    assert sorted(sessions["c"].to_pylist()[0]) == [1, 1, 1, 2, 2, 3]


def test_times_of_float32_do_not_hide_beside_wider_ones(tmp_path):
    log = two_files(tmp_path, t=[[1, 2, 3], pl.Series([1, 2, 3], dtype=pl.Float32)])
    with pytest.raises(TypeError, match=r"'t' of .*1\.parquet holds float32"):
        etl(time_unit="s").fit(log)
