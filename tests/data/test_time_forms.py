"""Times in every form of ISO 8601, and in years that no calendar has."""

import datetime as dt
import itertools

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL

NOON = dt.datetime(2019, 10, 1, 12)


def etl(**options):
    return SessionETL("s", "t", "i", recency=False, time_features=(), **options)


def starts(times, **options):
    clicks = {"s": list(range(len(times))), "t": times, "i": [7] * len(times)}
    return etl(**options).fit_transform(clicks)["start"].to_pylist()


def span(**parts):
    return dt.timedelta(**parts)


# Text → what it adds to the midnight of the day.
CLOCKS = {
    "12": span(hours=12),
    "12:34": span(hours=12, minutes=34),
    "12:34:56": span(hours=12, minutes=34, seconds=56),
    "00:00:00": span(),
    "24:00:00": span(days=1),
}
FRACTIONS = {
    "": span(),
    ".5": span(milliseconds=500),
    ",123": span(milliseconds=123),
    ".000001": span(microseconds=1),
    ".1234567891234": span(microseconds=123456),
}
ZONES = {
    "": span(),
    "Z": span(),
    "z": span(),
    " UTC": span(),
    "+02": span(hours=2),
    "-0330": -span(hours=3, minutes=30),
    "+05:45": span(hours=5, minutes=45),
    " +00:00": span(),
}


def forms():
    """Texts, and the times that they are of."""
    yield "2019-10-01", dt.datetime(2019, 10, 1)
    yield "20191001", dt.datetime(2019, 10, 1)
    parts = (("T", " ", "t"), CLOCKS, FRACTIONS, ZONES, (True, False))
    for between, clock, fraction, zone, marked in itertools.product(*parts):
        if fraction and (clock.count(":") < 2 or clock.startswith("24")):
            continue
        date = "2019-10-01"
        if not marked:
            date, clock_text = date.replace("-", ""), clock.replace(":", "")
        text = f"{date}{between}{clock if marked else clock_text}{fraction}{zone}"
        time = dt.datetime(2019, 10, 1) + CLOCKS[clock] + FRACTIONS[fraction]
        yield text, time - ZONES[zone]


def test_every_form_of_a_time_is_read():
    texts, times = zip(*forms(), strict=True)
    assert len(set(texts)) > 500
    found = starts(list(texts))
    wrong = [row for row in zip(texts, found, times, strict=True) if row[1] != row[2]]
    assert not wrong
    # Each by itself too, for what stands beside it is no help.
    for text, time in list(forms())[::37]:
        assert starts([text]) == [time], text


def test_spaces_around_a_time_are_none(tmp_path):
    assert starts([" 2019-10-01T12:00Z "]) == [NOON]
    log = tmp_path / "a.csv"
    log.write_text("s,t,i,x\n1, 1396868469,7, 1.5\n1,1396868470 ,8,2.5 \n")
    table = etl(time_unit="s", continuous=["x"]).fit_transform(log)
    assert table["start"].to_pylist() == [dt.datetime(2014, 4, 7, 11, 1, 9)]
    assert table["length"].to_pylist() == [2]
    log.write_text("s,t,i\n1, 1396868469.5,7\n")
    table = etl(time_unit="s").fit_transform(log)
    assert table["start"][0].as_py().microsecond == 500_000


@pytest.mark.parametrize(
    "text",
    [
        "2019-10-01T24:00:01Z",
        "2019-10-01T25:00",
        "2019-13-01",
        "2019-02-29T12:00",
        "2019-1001",
        "2019-10-01T1200:00",
        "2019-10-01T12:00+99",
        "2019-10-01T12:00 CET",
        "12:00",
        "yesterday",
        " ",
    ],
)
def test_what_is_no_time_is_named(text):
    with pytest.raises(ValueError) as error:
        starts(["2019-10-01", text])
    assert f"row 2: {text!r} is not a time; use ISO 8601" in str(error.value)


def far(unit, count=2**60, zone=None):
    return pa.array([5, count], pa.timestamp(unit, zone))


FAR = {
    "s": far("s"),
    "s, wrapped": far("s", 2**61 + 1),
    "s, negative": far("s", -(2**60)),
    "ms": far("ms"),
    "ms, negative": far("ms", -(2**60)),
    "ms, zone": far("ms", 2**60, "Europe/Berlin"),
    "us": far("us"),
    "days": pa.array([5, 2**30], pa.date32()),
    "days, negative": pa.array([5, -(2**30)], pa.date32()),
    "date64": pa.array([0, 2**60 // 86_400_000 * 86_400_000], pa.date64()),
}
MAKES = {
    "arrow": lambda times: {"s": [1, 1], "t": times, "i": [7, 8]},
    "table": lambda times: pa.table({"s": [1, 1], "t": times, "i": [7, 8]}),
    "pandas": lambda times: {
        "s": [1, 1],
        "t": pd.Series(times, dtype=pd.ArrowDtype(times.type)),
        "i": [7, 8],
    },
}


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("times", FAR.values(), ids=FAR)
def test_years_of_no_calendar_get_one_sentence(times, make, capfd):
    with pytest.raises(ValueError, match=r"'t'.* (lies outside|too far from 1970)"):
        etl().fit(MAKES[make](times))
    assert "panic" not in capfd.readouterr().err


# What pyarrow itself lets begin again is a likely time in the file.
@pytest.mark.parametrize("times", [FAR[name] for name in FAR if "wrap" not in name])
def test_so_do_those_of_parquet_files(times, tmp_path, capfd):
    table = pa.table({"s": [1, 1], "t": times, "i": [7, 8]})
    try:
        pq.write_table(table, tmp_path / "a.parquet")
    except pa.ArrowInvalid:
        pytest.skip("parquet has no such times")
    sentence = r"'t', row 2 of .*a\.parquet: .* lies outside of the years 1900 to 2200"
    with pytest.raises(ValueError, match=sentence):
        etl().fit(tmp_path)
    # Also beside a file whose times are of another unit.
    other = {"s": [2], "t": pl.Series([NOON]).cast(pl.Datetime("ns")), "i": [7]}
    pl.DataFrame(other).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=sentence):
        etl().fit(tmp_path)
    assert "panic" not in capfd.readouterr().err


def test_datetimes_of_any_unit_are_the_same_times():
    times = np.array(["1969-12-31T23:59:59.999", "2019-10-01T12"], "datetime64[ms]")
    expected = times.astype("datetime64[us]").tolist()
    for unit in ("ms", "us", "ns"):
        assert starts(pl.Series(times).cast(pl.Datetime(unit))) == expected
    zoned = pl.Series(times).dt.replace_time_zone("UTC")
    assert starts(zoned.dt.convert_time_zone("Asia/Tokyo")) == expected
    assert starts(pa.array([NOON], pa.timestamp("s"))) == [NOON]
    days = pl.Series([dt.date(1969, 12, 31), dt.date(2019, 10, 1)])
    assert starts(days) == [dt.datetime(1969, 12, 31), dt.datetime(2019, 10, 1)]


def test_dates_and_datetimes_of_two_files_are_one_column(tmp_path):
    for name, times in (("a", [dt.date(2019, 10, 1)]), ("b", [NOON])):
        table = pl.DataFrame({"s": [name], "t": times, "i": [7]})
        table.write_parquet(tmp_path / f"{name}.parquet")
    found = etl().fit_transform(ClickLog(tmp_path))["start"].to_pylist()
    assert found == [dt.datetime(2019, 10, 1), NOON]
