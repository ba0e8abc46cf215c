import socket
import sys

import numpy as np
import pytest

from keras_t4r.serving import triton_client
from keras_t4r.serving.triton_client import TritonClient

INTEGER = {"name": "item_id", "datatype": "INT64"}
NUMBER = {"name": "price", "datatype": "FP64"}
TEXT = {"name": "brand", "datatype": "BYTES"}


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
    import polars as pl
    import pyarrow as pa

    columns = {"item_id": [5, 6], "brand": ["a", None]}
    rows = [{"item_id": 5, "brand": "a"}, {"item_id": 6, "brand": None}]
    for form in (columns, rows, pl.DataFrame(columns), pa.table(columns)):
        assert triton_client._column(form, "item_id") == [5, 6]
        assert triton_client._column(form, "brand") == ["a", None]
    arrays = {"item_id": np.array([5, 6])}
    assert triton_client._column(arrays, "item_id") == [5, 6]


def test_a_row_without_a_column_is_named():
    with pytest.raises(ValueError, match=r"Row 2 has no 'item_id'; it has \['brand'\]"):
        triton_client._column([{"item_id": 1}, {"brand": "a"}], "item_id")


def test_columns_without_a_column_are_named():
    with pytest.raises(ValueError, match=r"no column 'item_id'; they have \['brand'\]"):
        triton_client._column({"brand": ["a"]}, "item_id")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            INTEGER,
            [1, "2"],
            "Row 2 has '2' in column 'item_id', which needs an integer",
        ),
        (INTEGER, [1.5], "Row 1 has 1.5 in column 'item_id', which needs an integer"),
        (INTEGER, [2**70], "Row 1 has 1180591620717411303424 in column 'item_id'"),
        (
            NUMBER,
            ["cheap"],
            "Row 1 has 'cheap' in column 'price', which needs a number",
        ),
        (TEXT, ["a", 7], "Row 2 has 7 in column 'brand', which needs text"),
    ],
)
def test_a_value_of_another_type_is_named(column, values, message):
    with pytest.raises(ValueError, match=message):
        triton_client._array(column, values)


def test_no_value_is_the_least_integer_nan_or_empty_text():
    least = np.iinfo("int64").min
    assert triton_client._array(INTEGER, [None, np.nan]).tolist() == [least, least]
    assert np.isnan(triton_client._array(NUMBER, [None, 1])[0])
    assert triton_client._array(TEXT, [None, "é"]).tolist() == [b"", "é".encode()]


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
