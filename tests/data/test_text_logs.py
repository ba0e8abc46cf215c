"""Text logs of other people's making: each line is a click, or an error names it."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL


def etl(**options):
    options = {"time_unit": "s", "recency": False, "time_features": (), **options}
    return SessionETL("s", "t", "i", drop_repeats=False, **options)


def clicks_of(log):
    return sum(etl().fit_transform(log)["length"].to_pylist())


def write(path, *lines, end="\n"):
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())
    return path


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize(
    "titles",
    [
        {4: '5" mix', 20: '12" mix'},
        {4: '"Heroes', 20: '"Tonight'},
        {4: '5" mix'},
        {4: '"Heroes" (live)', 5: '""'},
        {4: '"Heroes"'},
        {28: 'the last "word'},
    ],
    ids=["inches", "openings", "odd", "inside", "whole", "last"],
)
def test_quotes_in_texts_swallow_no_line(titles, separator, tmp_path):
    lines = [
        separator.join((str(k // 3), str(k), "7", titles.get(k, "song")))
        for k in range(30)
    ]
    log = write(tmp_path / "a.csv", separator.join(("s", "t", "i", "title")), *lines)
    assert clicks_of(log) == 30
    # Also where the column is one that is read.
    table = etl(categorical=["title"]).fit_transform(log)
    assert sum(table["length"].to_pylist()) == 30


def test_quoted_fields_may_hold_separators_and_quotes(tmp_path):
    log = write(
        tmp_path / "a.csv", '"s","t","i","title"', '1,1,7,"a, b"', '1,2,8,"c ""d"""'
    )
    frame = ClickLog(log).scan(["title"], {"title": "string"}).collect()
    assert frame["title"].to_list() == ["a, b", 'c "d"']


def test_what_quotes_mean_is_asked_where_it_is_not_clear(tmp_path):
    # A separator within quotes, and a quote that is none.
    log = write(tmp_path / "a.csv", "s,t,i,x", '1,1,7,"a, b"', '1,2,8,5" mix')
    with pytest.raises(
        ValueError, match=r"Line 3 of .*a\.csv has a quote .*quote=None"
    ):
        ClickLog(log)
    # A line break within quotes.
    log = write(tmp_path / "b.csv", "s,t,i,x", '1,1,7,"a', 'b"', "1,2,8,c", "")
    with pytest.raises(ValueError, match=r"Line 2 of .*quote='\"'"):
        ClickLog(log)
    assert clicks_of(ClickLog(log, quote='"')) == 2
    with pytest.raises(ValueError, match=r"Line 3 of .* does not have 4 fields"):
        ClickLog(log, quote=None)
    log = write(tmp_path / "c.csv", "s,t,i", "1,1,7", '1,2,"8')
    with pytest.raises(ValueError, match=r"Line 3 of .*c\.csv cannot be read"):
        ClickLog(log, quote='"')


@pytest.mark.parametrize(
    "line",
    ["1,2", "1,2,8,9", ",,", "   ", "1;2;8"],
    ids=["few", "many", "none", "blank", "other"],
)
def test_a_line_of_another_make_is_named(line, tmp_path):
    log = write(tmp_path / "a.csv", "s,t,i", "1,1,7", line, "1,3,9")
    with pytest.raises(ValueError, match=r"Line 3 of .*a\.csv does not have 3 fields"):
        etl().fit(log)


def test_a_log_of_a_header_has_no_clicks(tmp_path):
    with pytest.raises(ValueError, match="There are no clicks"):
        etl(time_unit=None).fit(write(tmp_path / "a.csv", "s,t,i"))
    assert etl().fit({"s": [1], "t": [1], "i": [7]}).transform([]).num_rows == 0
    with pytest.raises(ValueError, match="There are no clicks"):
        etl().fit([])


def test_a_column_that_stands_twice_is_refused(tmp_path):
    columns = ["s", "t", "i", "i"]
    with pytest.raises(ValueError, match="names column 'i' twice"):
        etl().fit(write(tmp_path / "a.csv", ",".join(columns), "1,1,7,8"))
    with pytest.raises(ValueError, match="names column 'i' twice"):
        etl().fit(ClickLog(write(tmp_path / "b.csv", "1,1,7,8"), columns=columns))
    table = pa.table([[1], [1], [7], [8]], names=columns)
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="names column 'i' twice"):
        etl().fit(tmp_path / "c.parquet")
    # polars does not even scan a file with a twin that nobody reads.
    pq.write_table(pa.table([[1]] * 5, names=[*"stizz"]), tmp_path / "d.parquet")
    with pytest.raises(ValueError, match=r"d\.parquet names column 'z' twice"):
        etl().fit(tmp_path / "d.parquet")
    with pytest.raises(ValueError, match="names column 'i' twice"):
        etl().fit(table)
    with pytest.raises(ValueError, match="names column 'i' twice"):
        etl().fit(pd.DataFrame([[1, 1, 7, 8]], columns=columns))


@pytest.mark.parametrize("text", ["007", "+8", "8.0", "1e1", " 8"])
def test_integers_are_as_they_are_written(text, tmp_path):
    fitted = etl().fit({"s": [1, 1], "t": [1, 2], "i": [7, 8]})
    log = write(tmp_path / "a.csv", "s,t,i", "1,1,7", f"1,2,{text}")
    with pytest.raises(TypeError) as error:
        fitted.transform(log)
    assert f"row 2 of {log} has {text!r}" in str(error.value)


def test_names_of_files_are_no_patterns(tmp_path):
    write(tmp_path / "a1.csv", "s,t,i", "1,1,7", "1,2,7")
    log = write(tmp_path / "a[1].csv", "s,t,i", "1,1,7")
    assert clicks_of(log) == 1
    pl.read_csv(tmp_path / "a1.csv").write_parquet(tmp_path / "a1.parquet")
    pl.read_csv(log, glob=False).write_parquet(tmp_path / "a[1].parquet")
    assert clicks_of(tmp_path / "a[1].parquet") == 1


def test_damage_anywhere_is_an_error_or_changes_what_it_says(tmp_path):
    """Whatever a byte becomes, no click is lost without a word."""
    text = b"s,t,i,c\n" + b"".join(
        b'%d,%d,%d,"a ""%d"""\n' % (k // 3, k, k % 5, k) for k in range(12)
    )
    rng = np.random.default_rng(0)
    path = tmp_path / "a.csv"
    for _ in range(150):
        damaged = bytearray(text)
        damaged[rng.integers(len(text))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            sessions = etl(categorical=["c"]).fit_transform(path)
        except (ValueError, TypeError) as error:
            assert "\n" not in str(error)
            continue
        lines = bytes(damaged).decode().split("\n")
        assert sum(sessions["length"].to_pylist()) == sum(map(bool, lines)) - 1


def test_one_odd_line_makes_no_quotes_part_of_ids(tmp_path):
    lines = ["session_id,time,item", '1,1,"abc"', '1,2,"5\\" tv"']
    log = write(tmp_path / "a.csv", *lines)
    with pytest.raises(ValueError, match=r"Line 3 of .*quote=None"):
        ClickLog(log)


def test_a_mark_of_the_byte_order_is_no_part_of_a_quoted_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbf"s","t","i"\n"1","1","7"\n"1","2","8"\n')
    assert ClickLog(path).names() == ["s", "t", "i"]
    assert clicks_of(path) == 2


def test_a_log_may_begin_with_a_blank_line_and_have_nameless_columns(tmp_path):
    log = write(tmp_path / "a.csv", "", "s,t,i,,", "1,1,7,,", "1,2,8,,")
    assert clicks_of(log) == 2
    log = write(tmp_path / "b.csv", "s,x,t,x,i", "1,a,1,b,7", "1,a,2,b,8")
    assert clicks_of(log) == 2


def test_a_quoted_field_may_be_long(tmp_path):
    log = write(tmp_path / "a.csv", "s,t,i,c", f'1,1,7,"{"x" * 200_000}\n"', "1,2,8,y")
    assert clicks_of(ClickLog(log, quote='"')) == 2


def test_a_separator_is_one_character(tmp_path):
    log = write(tmp_path / "ratings.dat", "1::1::7", "1::2::8")
    with pytest.raises(ValueError, match="separator is '::'; it should be one"):
        ClickLog(log, columns=["s", "t", "i"], separator="::")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('2,2,8,the 5" one', "a quote in it"),
        ('2,2,8,"a" b', "a quote in it"),
        ("2,2,8", "it has 3 fields"),
        (",,,", "nothing but separators"),
        ('2,2,8,"a', "a quote in it"),
    ],
)
def test_a_quote_that_is_given_swallows_no_line(line, why, tmp_path):
    lines = ["1,1,7,a", "", line, '2,3,9,6" tv', "2,4,7,d"]
    log = write(tmp_path / "a.csv", "s,t,i,title", *lines)
    with pytest.raises(ValueError, match=rf"Line 4 of .*a\.csv .*{why}"):
        ClickLog(log, quote='"')


def test_fields_in_quotes_run_over_lines(tmp_path):
    lines = ["1,1,7,'a\n\n, b'", "", "1,2,8,it", "1,3,9,'it''s'"]
    log = write(tmp_path / "a.csv", "s,t,'i',title", *lines, end="\r\n")
    log = ClickLog(log, quote="'")
    frame = log.scan(["i", "title"], dict(i="int64", title="string")).collect()
    assert frame["title"].to_list() == ["a\n\n, b", "it", "it's"]
    assert log.rows() == 3


def test_clicks_that_are_counted_but_not_read_are_an_error(tmp_path):
    class Other(ClickLog):
        def rows(self):
            return super().rows() + 1

    log = Other(write(tmp_path / "a.csv", "s,t,i", "1,1,7", "1,2,8"))
    for rows_in_memory in (None, 1):
        with pytest.raises(ValueError, match="holds 3 clicks, of which 2 could be"):
            etl(rows_in_memory=rows_in_memory).write(log, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_between_quotes_is_no_value(tmp_path):
    lines = ['1,1,7,"1.5","5"', '1,2,8,"",""', '1,3,9,"2.5","6"']
    log = write(tmp_path / "a.csv", "s,t,i,x,c", *lines)
    fitted = etl(continuous=["x"], categorical=["c"]).fit(log)
    assert fitted.input_columns["c"] == "int64"
    sessions = fitted.transform(log)
    assert sessions["c"].to_pylist() == [[2, 1, 3]]
    assert sessions["x"][0][1].as_py() == 0.0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (dict(quote="ab"), ValueError),
        (dict(quote=""), ValueError),
        (dict(quote="§"), ValueError),
        (dict(quote=5), TypeError),
        (dict(separator="§"), ValueError),
        (dict(separator="\n"), ValueError),
        (dict(separator='"'), ValueError),
        (dict(separator=5), TypeError),
        (dict(columns=5), TypeError),
        (dict(columns="sti"), TypeError),
        (dict(columns=["s", "t", None]), TypeError),
    ],
)
def test_marks_and_names_that_are_none_are_refused(arguments, error, tmp_path):
    log = write(tmp_path / "a.csv", "s,t,i", "1,1,7")
    (name,) = arguments
    with pytest.raises(error, match=f"^{name} is "):
        ClickLog(log, **arguments)


MARKS = {
    "columns": ["s", "t", "i"],
    "separator": ";",
    "quote": None,
    "null_values": ["NULL"],
}


@pytest.mark.parametrize("mark", MARKS)
def test_what_says_how_text_is_read_is_refused_where_there_is_none(mark, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"i": [7], "t": [1], "s": [1]}), path)
    given = {mark: MARKS[mark]}
    with pytest.raises(ValueError, match=f"^{mark} is .*, but .*a.parquet is parquet"):
        ClickLog(path, **given)
    assert ClickLog(path, null_values=["\\N"], quote="auto").rows() == 1
    # Beside a text file it is about that one.
    log = write(tmp_path / "b.csv", "s;t;i" if mark == "separator" else "s,t,i")
    assert len(ClickLog([path, log], **given).files) == 2
