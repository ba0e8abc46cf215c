"""Sessions to recommend for, in whatever a caller has them: taken, or one sentence."""

import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import keras_t4r as t4r
from keras_t4r.models.answers.sessions import RaggedSessions

SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item", tags=("item_id",), domain=t4r.Domain(2, 9), value_count=(1, 8)
        ),
        t4r.ColumnSchema("price", "float32", ("continuous",), value_count=(1, 8)),
        t4r.ColumnSchema("age", "float32", ("continuous",)),
    )
)
GOOD = {"item": [[3, 4], [5]], "price": [[0.5, 1.0], [2.0]], "age": [7.0, 8.0]}


@pytest.fixture(autouse=True)
def fresh_session():
    """Reading needs no Keras session."""


def read(**columns):
    return RaggedSessions({**GOOD, **columns}, SCHEMA, {})


def values(name, held):
    (batch,) = read(**{name: held}).batches(2)
    return batch[name].tolist()


@pytest.mark.parametrize(
    "pair",
    [
        (1, np.float16(0.5)),
        (np.float16(0.5), 1),
        (np.float32(0.5), np.float16(0.25)),
        (np.int64(1), np.longdouble(0.5)),
        (np.uint8(3), np.int8(-1)),
        (np.float32(0.1), 0.2),
        (np.float32(0.1), 2**24 + 1),
        (decimal.Decimal("0.5"), 0.25),
    ],
    ids=lambda pair: "-".join(type(number).__name__ for number in pair),
)
def test_numbers_of_several_types_are_each_their_own_value(pair):
    expected = [float(np.float32(number)) for number in pair]
    for prices in ([pair, (1,)], [list(pair), np.array([1.0])]):
        assert values("price", prices) == [expected + [0, 0], [1, 0, 0, 0]]
    apart = read(item=[[3], [4]], price=[[pair[0]], [pair[1]]], age=list(pair))
    (batch,) = apart.batches(2)
    assert batch["price"][:, 0].tolist() == batch["age"].tolist() == expected


def test_ids_of_several_types_are_ids():
    for items in ([[np.uint8(3), 4], [np.int64(5)]], [[3.0, np.float16(4)], [5]]):
        assert values("item", items) == [[3, 4, 0, 0], [5, 0, 0, 0]]
    with pytest.raises(TypeError, match=r"'item' of the sessions: Float value 4.5"):
        read(item=[[3, np.float16(4.5)], [5]])


@pytest.mark.parametrize(
    "column",
    [5, None, 2.5, "abc", b"abc", {3}, {0: [3]}, iter([[3, 4], [5]]), np.array(5)],
    ids=lambda column: type(column).__name__,
)
@pytest.mark.parametrize("name", ["item", "price", "age"])
def test_what_is_no_column_is_told_so(column, name):
    kind = type(column).__name__
    with pytest.raises(TypeError, match=f"'{name}' .* is of type {kind}; give a list"):
        read(**{name: column})


def test_a_generator_is_no_column_and_may_be_a_session():
    with pytest.raises(TypeError, match=r"'item' .* is of type generator; give a list"):
        read(item=(row for row in GOOD["item"]))
    for row in (range(3, 5), (i for i in (3, 4)), pl.Series([3, 4]), pd.Series([3, 4])):
        assert values("item", [row, [5]]) == [[3, 4, 0, 0], [5, 0, 0, 0]]


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ([3, 4], "holds int64 values; it needs a list of values for each session"),
        (["ab", "c"], "holds string values; it needs a list"),
        ([{3, 4}, {5}], "a session is a set, which has no order"),
        ([[[3, 4]], [[5]]], "Unsupported cast from list"),
        ([[pd.Timestamp(0)] * 2, [pd.Timestamp(0)]], "Unsupported cast from timestamp"),
        ([[3, 4], 5], "cannot mix list and non-list"),
    ],
)
def test_what_holds_no_sessions_is_told_so(items, sentence):
    with pytest.raises(TypeError, match=sentence) as error:
        read(item=items)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "sessions",
    [None, 5, "item", [[3, 4]], (s for s in [GOOD]), pd.Series([[3]]), pl.Series([3])],
    ids=lambda sessions: type(sessions).__name__,
)
def test_what_holds_no_columns_is_told_what_to_pass(sessions):
    with pytest.raises(TypeError, match=r"Sessions come as a .* named tuple; this"):
        RaggedSessions(sessions, SCHEMA, {})


def test_rows_name_the_same_columns_and_none_is_an_empty_request():
    rows = pl.DataFrame(GOOD).to_dicts()
    assert len(RaggedSessions(rows, SCHEMA, {})) == 2
    assert len(RaggedSessions([], SCHEMA, {})) == 0
    with pytest.raises(ValueError, match=r"Row 2 of the sessions has \['item'\], but"):
        RaggedSessions([rows[0], {"item": [3]}], SCHEMA, {})


def test_columns_that_are_not_read_may_hold_anything():
    frame = pd.DataFrame({**GOOD, "odd": [1, "a"], 5: [1, 2]})
    assert len(RaggedSessions(frame, SCHEMA, {})) == 2


def test_there_is_a_session_id_for_each_session():
    assert read(key=["a", "b"]).keys("key")["key"].tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="'key' has 1 rows, the items have 2"):
        read(key=["a"]).keys("key")
    for keys in (5, None, "ab", (k for k in "ab")):
        with pytest.raises(TypeError, match="'key' of the sessions is of type"):
            read(key=keys).keys("key")


@pytest.mark.parametrize("view", [pa.list_view, pa.large_list_view])
def test_sessions_may_be_views_of_lists(view):
    items = pa.array([[9], *GOOD["item"]], view(pa.int64()))[1:]
    prices = pa.chunked_array(
        [pa.array([p], view(pa.float64())) for p in GOOD["price"]]
    )
    batch = next(read(item=items, price=prices).batches(2))
    assert batch["item"].tolist() == [[3, 4, 0, 0], [5, 0, 0, 0]]
    assert batch["price"].tolist() == [[0.5, 1, 0, 0], [2, 0, 0, 0]]
    with pytest.raises(ValueError, match="Session 1 is null in column 'item'"):
        read(item=pa.array([[3, 4], None], view(pa.int64())))


def test_numbers_of_vectors_are_each_their_own_value_too():
    vector = t4r.ColumnSchema(
        "v", "float32", ("embedding",), value_count=(1, 8), event_count=(2, 2)
    )
    schema = t4r.Schema((SCHEMA["item"], vector))
    pair = (1, np.float16(0.5))
    for events in ([list(pair)], [pair], np.array([pair]), [np.array(pair)]):
        sessions = {"item": [[3], [4, 5]], "v": [events, [[2, 3], [4, 5]]]}
        (batch,) = RaggedSessions(sessions, schema, {}).batches(2)
        assert batch["v"][0, 0].tolist() == [1, 0.5]
        if isinstance(events, list):
            (x,) = t4r.KerasSequenceLoader(sessions, schema, 2, shuffle=False)[0]
            assert x["v"][0, 0].tolist() == [1, 0.5]
