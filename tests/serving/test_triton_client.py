import socket
import sys
from collections import namedtuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from keras_t4r.serving import triton_client
from keras_t4r.serving.triton_client import TritonClient

INTEGER = {"item_id": "int64"}
NUMBER = {"price": "float64"}
TEXT = {"brand": "string"}
LEAST = np.iinfo("int64").min


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_that_is_down_gets_a_sentence(protocol):
    pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{free.getsockname()[1]}"
    with TritonClient(url, protocol) as client:
        with pytest.raises(ConnectionError, match=f"No Triton server answers .* {url}"):
            client.recommend("shop", [{"item_id": 1}])


def test_another_protocol_gets_a_sentence():
    with pytest.raises(ValueError, match='"http" or "grpc", not \'ftp\''):
        TritonClient("localhost:1", "ftp")


def test_rows_may_come_in_any_usual_form():
    columns = {"item_id": [5, 6], "brand": ["a", None], "more": [1, 2]}
    rows = pl.DataFrame(columns).to_dicts()
    del rows[1]["more"]
    forms = [columns, rows, pl.DataFrame(columns), pa.table(columns)]
    forms += [[namedtuple("Click", row)(**row) for row in rows]]
    forms += [pd.DataFrame(columns), {**columns, "item_id": np.array([5, 6])}]
    for form in forms:
        found = triton_client._arrays(form, INTEGER | TEXT)
        assert list(found) == ["item_id", "brand"]
        assert found["item_id"].tolist() == [5, 6]
        assert found["brand"].tolist() == [b"a", b""]


def test_a_row_without_a_column_is_named():
    with pytest.raises(ValueError, match="Row 2 has no 'item_id'"):
        triton_client._arrays([{"item_id": 1}, {"brand": "a"}], INTEGER)


def test_columns_without_a_column_are_named():
    with pytest.raises(ValueError, match=r"no column 'item_id'; they have \['brand'\]"):
        triton_client._arrays({"brand": ["a"]}, INTEGER)


def test_what_is_no_row_is_named():
    with pytest.raises(ValueError, match="Row 1 has no 'item_id'; it has int"):
        triton_client._arrays([7], INTEGER)


@pytest.mark.parametrize(
    "rows", [None, 5, np.array([(5,)], dtype=[("item_id", "i8")]), iter([{}])]
)
def test_what_holds_no_rows_is_told_what_does(rows):
    with pytest.raises(TypeError, match=f"a frame; this is a {type(rows).__name__}"):
        triton_client._arrays(rows, INTEGER)


@pytest.mark.parametrize(
    "exclude, found",
    [
        ([5, 6], [[5, 6]]),
        (np.array([5, 6]), [[5, 6]]),
        ([[5, 6, 7], [8]], [[5, 6, 7], [8, LEAST, LEAST]]),
        ([[], [None, 5.0]], [[LEAST, LEAST], [LEAST, 5]]),
    ],
    ids=str,
)
def test_what_is_not_to_be_answered_is_sent_as_one_table(exclude, found):
    sent = triton_client._excluded(exclude, "int64", 2)
    assert sent.tolist() == found
    assert sent.dtype == "int64"


def test_texts_that_are_not_to_be_answered_are_sent_as_bytes():
    sent = triton_client._excluded([["é"], ["a", None]], "string", 2)
    assert sent.tolist() == [["é".encode(), b""], [b"a", b""]]


@pytest.mark.parametrize(
    "exclude, kind, error, message",
    [
        (["\ud800"], "string", ValueError, "exclude holds .* no UTF-8 text"),
        (["a"], "int64", TypeError, "exclude holds values of type String"),
        ([5], "string", TypeError, "exclude holds 5; raw ids .* are texts"),
        ("abc", "string", TypeError, "exclude is 'abc'; it should be a list"),
        ([["a"]], "string", ValueError, "exclude holds 1 lists .* 2 sessions"),
        ([["a"], "b"], "string", TypeError, "exclude mixes ids and lists"),
    ],
)
def test_what_says_not_what_to_leave_out_is_not_sent(exclude, kind, error, message):
    with pytest.raises(error, match=message):
        triton_client._excluded(exclude, kind, 2)


def test_columns_that_are_not_read_may_hold_anything():
    columns = {"item_id": [5, 6], "odd": ["a", 7]}
    for form in (columns, pd.DataFrame(columns), pd.DataFrame(columns).to_dict("list")):
        found = triton_client._arrays(form, INTEGER)
        assert {name: ids.tolist() for name, ids in found.items()} == {
            "item_id": [5, 6]
        }


def test_a_file_is_no_row(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("item_id\n5\n")
    with pytest.raises(TypeError, match="rows in memory, and not a file"):
        triton_client._arrays(path, INTEGER)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (INTEGER, [1, "2"], "'item_id' mixes values of several types"),
        (INTEGER, [1, True], "'item_id' mixes values of several types"),
        (INTEGER, ["2"], "'item_id' of the clicks holds string .* int64"),
        (INTEGER, [1.5], "'item_id' of the clicks holds float64 .* int64"),
        (INTEGER, [2**70], "'item_id'"),
        (NUMBER, ["cheap"], "'price' of the clicks holds string .* float64"),
        (NUMBER, [10**400, 1.5], "'price' mixes"),
        (NUMBER, [np.array([1, 2])], "'price'"),
        (TEXT, ["a", 7], "'brand' mixes values of several types"),
        (TEXT, [7], "'brand' of the clicks holds int64 .* string"),
        (TEXT, ["\ud800"], "'brand'"),
        (TEXT, [b"\xff"], "'brand' holds bytes that are no UTF-8"),
    ],
)
def test_a_value_of_another_type_is_named(column, values, message):
    with pytest.raises((ValueError, TypeError), match=message):
        triton_client._arrays({name: values for name in column}, column)


def test_no_value_is_the_least_integer_nan_or_empty_text():
    def sent(column, values):
        (name,) = column
        return triton_client._arrays({name: values}, column)[name]

    assert sent(INTEGER, [None, 5]).tolist() == [LEAST, 5]
    assert sent(INTEGER, [None, None]).tolist() == [LEAST, LEAST]
    assert sent(INTEGER, [np.nan, 5]).tolist() == [LEAST, 5]
    assert sent(TEXT, [np.nan, "a"]).tolist() == [b"", b"a"]
    assert np.isnan(sent(NUMBER, [None, 1])[0])
    assert sent(TEXT, [None, "é"]).tolist() == [b"", "é".encode()]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_without_tritonclient_the_extra_is_named(monkeypatch, protocol):
    monkeypatch.setitem(sys.modules, "tritonclient", None)
    monkeypatch.setitem(sys.modules, f"tritonclient.{protocol}", None)
    with pytest.raises(ImportError, match=r"keras_t4r\[triton\]"):
        TritonClient("localhost:1", protocol)


class Reply:
    """What Triton sent."""

    def __init__(self, **arrays):
        self.arrays = arrays

    def as_numpy(self, name):
        return self.arrays[name]


def test_an_answer_is_read_by_the_names_of_its_outputs():
    # gRPC describes shapes as text.
    described = {
        "session_id": ("INT64", ["-1", "1"]),
        "item": ("BYTES", ["-1", "2"]),
        "item_scores": ("FP32", ["-1", "2"]),
        "shelf": ("INT64", ["-1", "2"]),
        "shelf_scores": ("FP32", ["-1", "2"]),
        "liked": ("FP32", ["-1", "-1"]),
        "events": ("INT32", ["-1"]),
    }
    outputs = [
        {"name": f"result_{name}", "datatype": kind, "shape": shape}
        for name, (kind, shape) in described.items()
    ]
    least = -np.inf
    reply = Reply(
        result_session_id=np.array([[7], [8]]),
        result_item=np.array([["é".encode(), b""], [b"", b"b"]], object),
        result_item_scores=np.array([[1, least], [2, 1]], "float32"),
        result_shelf=np.array([[5, -1], [6, 5]]),
        result_shelf_scores=np.array([[1, least], [2, 1]], "float32"),
        result_liked=np.array([[0.5, 0.0], [0.25, 0.75]], "float32"),
        result_events=np.array([1, 2], "int32"),
    )
    found = triton_client._answers(reply, outputs)
    assert list(found) == list(described)[:-1]
    assert found["session_id"].tolist() == [7, 8]
    # Empty text may be an item's id.
    assert found["item"].tolist() == [["é", None], ["", "b"]]
    assert found["shelf"].tolist() == [[5, -1], [6, 5]]
    assert [values.tolist() for values in found["liked"]] == [[0.5], [0.25, 0.75]]
