"""Bad clicks get one sentence that names the file, the column and the row."""

import gzip
from types import MappingProxyType

import numpy as np
import pandas as pd
import polars as pl
import pytest

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL

GOOD = {"s": [1, 1, 2], "t": [0.5, 1.5, 2.5], "i": [7, 8, 7], "x": [1.0, 2.0, 3.0]}


def etl(**options):
    return SessionETL("s", "t", "i", continuous=["x"], time_unit="s", **options)


def write_csv(path, rows="1,0,7,1\n1,1,8,2\n", header="s,t,i,x\n"):
    path.write_text(header + rows)
    return path


def says(error, *parts):
    """One sentence, which has all the parts in it."""
    message = str(error.value)
    for part in parts:
        assert str(part) in message
    assert "\n" not in message and message.endswith((".", "?"))


def test_a_missing_column_is_named_with_the_file_and_its_columns(tmp_path):
    path = write_csv(tmp_path / "a.csv", "1,0,7\n", "s,t,i\n")
    with pytest.raises(ValueError) as error:
        etl().fit(path)
    says(error, "'x'", path, "['s', 't', 'i']", "columns=[")
    parquet = tmp_path / "a.parquet"
    pl.DataFrame({"s": [1], "t": [1]}).write_parquet(parquet)
    with pytest.raises(ValueError) as error:
        etl().fit(parquet)
    says(error, "'i'", parquet, "['s', 't']")
    with pytest.raises(ValueError) as error:
        etl().fit({"s": [1], "t": [1], "i": [1]})
    says(error, "'x'", "the clicks")


@pytest.mark.parametrize("column", ["s", "t", "i"])
def test_a_null_is_named_with_its_row(column, tmp_path):
    clicks = {**GOOD, column: [GOOD[column][0], None, GOOD[column][2]]}
    with pytest.raises(ValueError) as error:
        etl().fit(clicks)
    says(error, f"{column!r}", "row 2")
    pl.DataFrame(GOOD).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(clicks).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError) as error:
        etl().fit(tmp_path)
    says(error, f"{column!r}", f"row 2 of {tmp_path / 'b.parquet'}")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_number_that_is_none_is_named_with_its_row(value):
    with pytest.raises(ValueError) as error:
        etl().fit({**GOOD, "x": [1.0, 2.0, value]})
    says(error, "'x'", str(value), "row 3", "null")


def test_a_number_beyond_float32_is_named():
    with pytest.raises(ValueError) as error:
        etl().fit(GOOD).transform({**GOOD, "x": [1.0, 2.0, 1e39]})
    says(error, "'x'", "session 2", "beyond what a model can read")
    # Where the ETL was fitted on such numbers, they are nothing special.
    sessions = etl().fit_transform({**GOOD, "x": [1e300, 2e300, 1e39]})
    assert np.isfinite(sessions["x"].combine_chunks().flatten()).all()


def test_an_unparsable_time_is_named_with_row_and_value(tmp_path):
    text = {**GOOD, "t": ["2014-04-07T10:51:09.277Z", "yesterday", "2014-04-08"]}
    with pytest.raises(ValueError) as error:
        SessionETL("s", "t", "i").fit(text)
    says(error, "'t'", "row 2", "'yesterday'", "ISO 8601")
    path = write_csv(tmp_path / "a.csv", "1,2014-04-07,7,1\n1,2014-99-07,7,1\n")
    with pytest.raises(ValueError) as error:
        etl().fit(path)
    says(error, f"row 2 of {path}", "'2014-99-07'")


def test_times_of_another_type_or_unit_are_refused():
    with pytest.raises(ValueError) as error:
        SessionETL("s", "t", "i").fit(GOOD)
    says(error, "'t'", "time_unit")
    with pytest.raises(ValueError) as error:
        etl().fit({**GOOD, "t": [1.6e12, 1.6e12, 1.6e12]})
    says(error, "'t'", "2200", "time_unit")
    with pytest.raises(TypeError) as error:
        etl().fit({**GOOD, "t": [[1], [2], [3]]})
    says(error, "'t'", "List")
    with pytest.raises(ValueError, match="row 2"):
        etl().fit({**GOOD, "t": [1.0, np.nan, 2.0]})


def test_mistyped_columns_are_refused_and_name_both_types(tmp_path):
    with pytest.raises(TypeError) as error:
        etl().fit({**GOOD, "i": [7.0, 8.0, 7.5]})
    says(error, "'i'", "float64", "integers or text")
    fitted = etl().fit(GOOD)
    with pytest.raises(TypeError) as error:
        fitted.transform({**GOOD, "i": ["7", "8", "7"]})
    says(error, "'i'", "string", "int64")
    path = write_csv(tmp_path / "a.csv", "1,0,7,1\n1,1,seven,2\n")
    with pytest.raises(TypeError) as error:
        fitted.transform(path)
    says(error, "'i'", "int64", f"row 2 of {path}", "'seven'")
    path = write_csv(tmp_path / "b.csv", "1,0,7,cheap\n1,1,8,2\n")
    with pytest.raises(TypeError) as error:
        etl().fit(path)
    says(error, "'x'", "float64", f"row 1 of {path}", "'cheap'")
    with pytest.raises(TypeError, match="several types"):
        etl().fit({**GOOD, "i": [7, "8", 7]})
    with pytest.raises(TypeError, match="a set"):
        etl().fit({1, 2})


def test_files_of_one_log_agree_on_their_types(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "a.parquet")
    narrow = pl.DataFrame(GOOD).with_columns(pl.col("i").cast(pl.Int16))
    narrow.write_parquet(tmp_path / "b.parquet")
    assert etl().fit(tmp_path).input_columns["i"] == "int64"
    text = pl.DataFrame(GOOD).with_columns(pl.col("i").cast(pl.String))
    text.write_parquet(tmp_path / "c.parquet")
    with pytest.raises(TypeError) as error:
        etl().fit(tmp_path)
    says(error, "'i'", "string", tmp_path / "c.parquet", "int64")


def test_ids_beyond_64_bits_and_mixed_pandas_columns_are_refused():
    with pytest.raises(ValueError) as error:
        etl().fit({**GOOD, "i": np.array([1, 2, 2**63 + 5], np.uint64)})
    says(error, "the clicks", "'i'")
    with pytest.raises(TypeError, match="'i' mixes"):
        etl().fit(pd.DataFrame({**GOOD, "i": [7, "8", 7]}))


def test_columns_of_other_lengths_or_shapes_are_refused():
    with pytest.raises(ValueError) as error:
        etl().fit({**GOOD, "i": [7]})
    says(error, "'i': 1", "'s': 3")
    with pytest.raises(ValueError) as error:
        etl().fit({**GOOD, "i": np.ones((3, 2), int)})
    says(error, "'i'", "(3, 2)")


def test_rows_of_other_columns_are_refused():
    rows = [
        dict(zip(GOOD, row, strict=True)) for row in zip(*GOOD.values(), strict=True)
    ]
    del rows[1]["x"]
    with pytest.raises(ValueError) as error:
        etl().fit(rows)
    says(error, "Row 2", "['i', 's', 't']", "['i', 's', 't', 'x']")
    with pytest.raises(ValueError) as error:
        etl().fit([rows[0], "clicks.csv"])
    says(error, "Row 2", "str")


@pytest.mark.parametrize("row", [(1, 1, 7), 5, b"a.csv", None])
def test_rows_that_name_no_columns_are_refused(row):
    with pytest.raises(TypeError) as error:
        etl().fit([row])
    says(error, type(row).__name__, "a list of dicts", "paths")


def test_rows_without_columns_lack_them():
    with pytest.raises(ValueError) as error:
        etl().fit(GOOD).transform([{}, {}])
    says(error, "'s' is missing")


def test_any_mapping_is_a_row_or_a_table():
    rows = pl.DataFrame(GOOD).to_dicts()
    expected = etl().fit_transform(rows)
    assert etl().fit_transform(list(map(MappingProxyType, rows))) == expected
    assert etl().fit_transform(MappingProxyType(GOOD)) == expected


def test_files_that_are_not_there_empty_or_cut_short_are_named(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        etl().fit(tmp_path / "nothing.csv")
    says(error, tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError):
        ClickLog(tmp_path / "*.parquet")
    with pytest.raises(ValueError, match="list of paths is empty"):
        ClickLog([])
    (tmp_path / "notes.md").write_text("no clicks")
    with pytest.raises(ValueError, match="unknown kind"):
        ClickLog(tmp_path / "notes.md")

    for name in ("empty.csv", "empty.parquet"):
        (tmp_path / name).touch()
        with pytest.raises(ValueError) as error:
            etl().fit(tmp_path / name)
        says(error, tmp_path / name, "is empty")
    with pytest.raises(ValueError, match="no clicks"):
        etl().fit(write_csv(tmp_path / "header.csv", ""))

    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    pl.DataFrame(GOOD).write_parquet(whole)
    cut.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(ValueError) as error:
        etl().fit(cut)
    says(error, cut, "cut short")
    broken = tmp_path / "broken.parquet"
    data = bytearray(whole.read_bytes())
    data[4:200] = bytes(196)
    broken.write_bytes(data)
    with pytest.raises(ValueError) as error:
        etl().fit(broken)
    says(error, broken, "damaged")

    zipped = gzip.compress(
        b"s,t,i,x\n" + b"".join(b"1,%d,%d,1\n" % (i, i * 7919) for i in range(5000))
    )
    (tmp_path / "cut.csv.gz").write_bytes(zipped[: len(zipped) // 2])
    with pytest.raises(ValueError) as error:
        etl().fit(tmp_path / "cut.csv.gz")
    says(error, tmp_path / "cut.csv.gz", "cut short")
    with pytest.raises(ValueError) as error:
        ClickLog(write_csv(tmp_path / "a.csv"), columns=["s", "t"])
    says(error, "4 columns", "2 names")


def test_what_is_not_fitted_says_so(tmp_path):
    for use in (
        lambda: etl().transform(GOOD),
        lambda: etl().save(tmp_path / "etl"),
        lambda: etl().schema,
        lambda: etl().vocabulary("i"),
    ):
        with pytest.raises(ValueError, match="not fitted"):
            use()
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept_and_a_failed_write_leaves_nothing(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    with pytest.raises(FileExistsError) as error:
        etl().write(GOOD, folder, progress=False)
    says(error, folder, "overwrite=True")
    bad = {**GOOD, "x": [1.0, 2.0, np.inf]}
    with pytest.raises(FileExistsError):
        etl().fit(GOOD).save(folder)
    # A schema may lie beside anybody's files.
    (folder / "schema.pbtxt").touch()
    with pytest.raises(FileExistsError, match=r"holds no workflow/etl\.json"):
        etl().write(GOOD, folder, overwrite=True, progress=False)
    (folder / "schema.pbtxt").unlink()
    (folder / "mine").unlink()
    with pytest.raises(ValueError):
        etl().write(bad, folder, overwrite=True, progress=False)
    assert {path.name for path in tmp_path.rglob("*")} == {"out"}
    etl().write(GOOD, folder, overwrite=True, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert (folder / "1" / "sessions.parquet").exists()


def test_logs_without_sessions_and_from_before_the_fitted_one_are_refused(tmp_path):
    short = {name: values[1:] for name, values in GOOD.items()}
    with pytest.raises(ValueError) as error:
        etl().write(short, tmp_path / "out", progress=False)
    says(error, "2 clicks or more")
    later = {**GOOD, "t": [1e9, 1e9 + 1, 1e9 + 2]}
    with pytest.raises(ValueError) as error:
        etl().fit(later).write(GOOD, tmp_path / "out", progress=False)
    says(error, "1970", "before the log")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(time_unit="hours"), "time_unit"),
        (dict(time_features=["month_sin"]), "month_sin"),
        (dict(min_count=0), "min_count"),
        (dict(min_length=9, max_length=4), "max_length"),
        (dict(window="1 week"), "window"),
        (dict(categorical=["i"]), "'i'"),
        (dict(continuous=["length"]), "'length'"),
        (dict(categorical=["a/b"]), "'a/b'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, word):
    with pytest.raises(ValueError) as error:
        SessionETL("s", "t", "i", **options)
    says(error, word)


def test_other_refusals(tmp_path):
    fitted = etl().fit(GOOD)
    with pytest.raises(ValueError, match="split"):
        fitted.write(GOOD, tmp_path / "out", split=(0.5, 0.1, 0.1))
    with pytest.raises(ValueError, match=r"'x' has no vocabulary.*\['i'\]"):
        fitted.vocabulary("x")
    with pytest.raises(ValueError, match="between 0 and 3"):
        fitted.decode([4])
    with pytest.raises(TypeError, match="integers"):
        fitted.decode([2.0])
    with pytest.raises(ValueError, match="min_count"):
        etl(min_count=5).fit(GOOD)
    with pytest.raises(FileNotFoundError, match=r"etl\.json"):
        SessionETL.load(tmp_path)
    (tmp_path / "etl.json").write_text("{}")
    with pytest.raises(ValueError, match="not the state"):
        SessionETL.load(tmp_path)
    fitted.save(tmp_path / "etl")
    (tmp_path / "etl" / "i.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"i\.parquet"):
        SessionETL.load(tmp_path / "etl")


def test_a_folder_that_holds_the_clicks_is_not_replaced(tmp_path):
    folder = tmp_path / "sessions"
    etl().write(GOOD, folder, progress=False)
    path = write_csv(folder / "raw.csv")
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    for clicks in (path, link, folder / "*.csv", ClickLog(path)):
        with pytest.raises(ValueError, match=r"lie in .*which is to be written"):
            etl().write(clicks, folder, overwrite=True, progress=False)
    assert path.exists() and (folder / "schema.pbtxt").exists()


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "^.*$",
        "a/b",
        "..",
        ".a",
        "a\nb",
        "a\0b",
        pytest.param("é" * 101, id="long"),
        "scores",
    ],
)
def test_names_that_mean_something_else_are_refused(name):
    with pytest.raises(ValueError, match="rename it"):
        SessionETL("s", "t", name)
    with pytest.raises(ValueError, match="rename it"):
        SessionETL(name, "t", "i")


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"split": (float("nan"), 0.5, 0.5)}, ValueError, r"split\[0\] is NaN"),
        ({"split": (1.5, -0.5, 0)}, ValueError, r"split\[0\] is 1.5"),
        ({"split": ()}, ValueError, "3 numbers"),
        ({"split": 0}, TypeError, "list of 3 numbers"),
        ({"split": ("a", 0.5, 0.5)}, TypeError, r"split\[0\] is 'a'"),
        ({"seed": 1.5}, TypeError, "seed is 1.5"),
        ({"seed": None}, TypeError, "seed is None"),
    ],
)
def test_a_split_that_is_none_is_refused_first(arguments, error, sentence, tmp_path):
    with pytest.raises(error, match=sentence):
        etl().write("nowhere.csv", tmp_path / "out", progress=False, **arguments)


def test_a_split_may_be_numpys(tmp_path):
    parts = []
    for name, split, seed in (
        ("plain", (0.5, 0.5, 0), 3),
        ("numpy", np.array([0.5, 0.5, 0]), np.int64(3)),
    ):
        folder = tmp_path / name
        etl(min_length=1).write(GOOD, folder, split=split, seed=seed, progress=False)
        parts.append(pl.read_parquet(folder / "1" / "train.parquet")["s"].to_list())
    assert parts[0] == parts[1]


@pytest.mark.parametrize("length", ["a", None, 2.5, 0, True])
def test_a_least_length_that_is_none_is_refused(length):
    with pytest.raises((TypeError, ValueError), match="min_length is"):
        etl().fit_transform(GOOD, min_length=length)


def test_two_writers_do_not_meet(tmp_path):
    class Waiting(ClickLog):
        def rows(self):
            # While this one reads, another begins.
            with pytest.raises(BlockingIOError, match="is being written by another"):
                etl().write(GOOD, tmp_path / "out", progress=False)
            return super().rows()

    log = Waiting(write_csv(tmp_path / "a.csv"))
    etl().write(log, tmp_path / "out", progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "a.csv"}
