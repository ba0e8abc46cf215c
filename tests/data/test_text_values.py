"""What a text log says by its bytes, its quotes and its words for nothing."""

import gzip

import numpy as np
import pytest

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL

TEXT = "s,t,i,c\n" + "".join(f"{k // 3},{k},{k % 4},tv\n" for k in range(9))


def etl(**options):
    options = {"recency": False, "time_features": (), **options}
    return SessionETL("s", "t", "i", time_unit="s", drop_repeats=False, **options)


@pytest.fixture(params=["a.csv", "a.csv.gz"])
def write(request, tmp_path):
    def write(data):
        data = data if isinstance(data, bytes) else data.encode()
        path = tmp_path / request.param
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return write


def said(error):
    message = str(error.value)
    assert "\n" not in message and message.endswith((".", "?"))
    return message


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("options", [{}, {"quote": None}, {"quote": '"'}])
def test_utf16_is_named(encoding, mark, options, write):
    path = write((mark + TEXT).encode(encoding))
    with pytest.raises(ValueError) as error:
        ClickLog(path, **options)
    assert f"{path} is UTF-16" in said(error) and "iconv -f UTF-16" in said(error)


def test_utf32_is_named(write):
    with pytest.raises(ValueError, match="is UTF-32 text, and not UTF-8"):
        ClickLog(write(TEXT.encode("utf-32")))


@pytest.mark.parametrize("options", [{}, {"quote": None}, {"quote": '"'}])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_latin_letters_are_named_with_their_line(encoding, options, write):
    path = write(TEXT.encode() + "3,9,7,café\n".encode(encoding))
    with pytest.raises(ValueError) as error:
        etl(categorical=["c"]).fit(ClickLog(path, **options))
    assert f"Line 11 of {path} is not UTF-8 text (byte 0xe9)" in said(error)
    assert "iconv -f WINDOWS-1252 -t UTF-8" in said(error)


def test_carriage_returns_alone_are_named(write):
    path = write(TEXT.replace("\n", "\r"))
    with pytest.raises(ValueError) as error:
        ClickLog(path)
    assert f"{path} ends its lines by carriage returns alone" in said(error)
    assert "tr '\\r' '\\n'" in said(error)
    assert ClickLog(write(TEXT.replace("\n", "\r\n"))).rows() == 9


@pytest.mark.parametrize(
    "field", [r'"a\"b"', r'"\"a\""', r'"5\", 6"', r'"a\\\"b"', r'"a\"b\"c"']
)
@pytest.mark.parametrize("others", ["D", '"D"'])
def test_quotes_after_backslashes_are_no_part_of_an_id(field, others, write):
    path = write(f"s,t,i\n1,1,{others}\n1,2,{field}\n")
    with pytest.raises(ValueError) as error:
        ClickLog(path)
    assert f"Line 3 of {path} has a quote after a backslash" in said(error)
    with pytest.raises(ValueError, match=r"Line 3 of .* cannot be read"):
        ClickLog(path, quote='"')


@pytest.mark.parametrize("field", [r"a\"b", r"5\"", r'"a\"', r'"a\\"', r'"a ""b"" \"'])
def test_backslashes_elsewhere_are_text(field, write):
    path = write(f"s,t,i\n1,1,D\n1,2,{field}\n")
    item = field
    if field.startswith('"'):
        item = field[1:-1].replace('""', '"')
    fitted = etl().fit(path)
    assert set(fitted.vocabulary("i").values) == {"D", item}
    assert fitted.transform(path)["length"].to_pylist() == [2]


# Words for nothing


def items(path, **options):
    fitted = etl(categorical=["c"]).fit(ClickLog(path, **options))
    return set(fitted.vocabulary("c").values)


@pytest.mark.parametrize("word", ["NULL", "NA", "nan", "NaN", "None", "-"])
def test_a_word_is_an_id_unless_it_is_said_to_be_none(word, write):
    path = write(f"s,t,i,c\n1,1,7,5\n1,2,8,{word}\n1,3,9,\n")
    assert items(path) == {"5", word}
    assert items(path, null_values=[word]) == {5}
    # In a log as in a request.
    fitted = etl(categorical=["c"]).fit(path)
    request = {"s": [1], "t": [1], "i": [7], "c": [word]}
    assert fitted.decode(fitted.transform(request)["c"][0].as_py(), "c") == [word]


@pytest.mark.parametrize("field", [r"\N", r'"\N"', "", '""'])
def test_what_databases_write_for_null_is_none(field, write):
    path = write(f"s,t,i,c,x\n1,1,7,5,1.5\n1,2,8,{field},{field}\n1,3,9,6,2.5\n")
    fitted = etl(categorical=["c"], continuous=["x"]).fit(path)
    sessions = fitted.transform(path)
    assert sessions["c"].to_pylist() == [[2, 1, 3]]
    assert np.sign(sessions["x"][0].as_py()).tolist() == [-1, 0, 1]
    with pytest.raises(ValueError, match="'i' is null in row 1 of"):
        etl().fit(write(f"s,t,i\n1,1,{field}\n1,2,8\n"))


def test_it_may_be_text(write):
    path = write("s,t,i,c\n1,1,7,\\N\n1,2,8,a\n")
    assert items(path) == {"a"}
    assert items(path, null_values=()) == {"a", "\\N"}
    with pytest.raises(TypeError, match="null_values is 5"):
        ClickLog(path, null_values=5)


@pytest.mark.parametrize("word", ["NULL", "NA", "n/a"])
def test_a_word_among_numbers_is_named_with_what_to_do(word, write):
    path = write(f"s,t,i,x\n1,1,7,1.5\n1,2,8,{word}\n1,3,9,2.5\n")
    with pytest.raises(TypeError) as error:
        etl(continuous=["x"]).fit(path)
    assert f"row 2 of {path} has {word!r}" in said(error)
    assert f"null_values=[{word!r}]" in said(error)
    log = ClickLog(path, null_values=[word])
    sessions = etl(continuous=["x"]).fit_transform(log)
    assert np.sign(sessions["x"][0].as_py()).tolist() == [-1, 0, 1]
    assert etl(continuous=["x"]).fit(write(TEXT.replace("c", "x").replace("tv", "nan")))
