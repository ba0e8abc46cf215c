"""Sessions to recommend for, in whatever a caller has them: taken, or one sentence."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import keras_t4r as t4r
from keras_t4r.models.answers.excluded import excluded_ids
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
    with pytest.raises(TypeError, match=r"'item' of the sessions holds 4.5; enc"):
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
        ([[[3, 4]], [[5]]], "holds list<.*> values for each event; it needs one"),
        ([[[]], [[]]], "holds list<.*> values for each event"),
        ([[pd.Timestamp(0)] * 2, [pd.Timestamp(0)]], "values of type Datetime.*whole"),
        ([[3, 4], 5], "cannot mix list and non-list.*: give a list of ids .integers"),
        ([[object()] * 2, [object()]], "cannot be read .*: give a list of ids .integ"),
        ([[3, "4"], [5]], "cannot be read .*: give a list of ids .integ"),
    ],
)
def test_what_holds_no_sessions_is_told_so(items, sentence):
    with pytest.raises(TypeError, match=sentence) as error:
        read(item=items)
    assert "\n" not in str(error.value)


def test_sets_in_a_frame_are_no_sessions_either():
    frame = pd.DataFrame({**GOOD, "item": [{3, 4}, {5}]})
    with pytest.raises(TypeError, match="a session is a set, which has no order"):
        RaggedSessions(frame, SCHEMA, {})


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


# What could be read as the id 3, and is none.
NO_IDS = {
    "text": "3",
    "bytes": b"3",
    "truth": True,
    "numpy's truth": np.True_,
    "date": datetime.date(1970, 1, 4),
    "datetime": datetime.datetime(1970, 1, 1),
    "time": datetime.time(0, 0, 3),
    "duration": datetime.timedelta(3),
    "decimal": decimal.Decimal(3),
    "fraction": 3.5,
}
CONTAINERS = {
    "list": lambda value: [[value, value], [value]],
    "arrays": lambda value: [np.array([value] * 2), np.array([value])],
    "arrow": lambda value: pa.array([[value, value], [value]]),
    "dictionary": lambda value: pa.ListArray.from_arrays(
        [0, 2, 3], pa.array([value] * 3).dictionary_encode()
    ),
    "pandas": lambda value: pd.Series([[value, value], [value]]),
    "polars": lambda value: pl.Series([[value, value], [value]]),
}
IDS = {"encoded": {}, "integers": {"item": t4r.Vocabulary([3, 4], name="item")}}


@pytest.mark.parametrize("known", IDS)
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", NO_IDS)
def test_values_of_other_types_are_no_ids(kind, container, known):
    items = CONTAINERS[container](NO_IDS[kind])
    with pytest.raises(TypeError, match=r"Column 'item' .* (ids|holds int64)"):
        RaggedSessions({**GOOD, "item": items}, SCHEMA, IDS[known])
    # Nor is one in a table that a loader reads.
    if known == "encoded" and container == "arrow":
        with pytest.raises(TypeError, match="column 'item' holds values of type"):
            t4r.KerasSequenceLoader({**GOOD, "item": items}, SCHEMA, 2)


@pytest.mark.parametrize("value", [3, 2.5, b"b", datetime.date(1970, 1, 4)])
def test_a_vocabulary_of_texts_has_ids_of_texts(value):
    texts = {"item": t4r.Vocabulary(["3", "b"], name="item")}
    for make in CONTAINERS.values():
        with pytest.raises(TypeError, match=r"'item' .* holds string"):
            RaggedSessions({**GOOD, "item": make(value)}, SCHEMA, texts)


@pytest.mark.parametrize("first_id", [1, 2])
@pytest.mark.parametrize("value", [*NO_IDS.values(), "b"], ids=str)
def test_nor_are_they_ids_that_are_excluded(value, first_id):
    held = t4r.Vocabulary([3, 4], first_id=first_id, name="item")
    for vocabulary in (held, None):
        with pytest.raises(TypeError, match=r"^exclude"):
            excluded_ids([value], 2, vocabulary, 6)
    assert (
        excluded_ids([np.uint8(3), 9], 2, held, 6)[:, :2].tolist()
        == [[first_id, first_id - 1]] * 2
    )
    assert excluded_ids([np.uint8(3), 9], 2, None, 6)[:, :2].tolist() == [[3, 0]] * 2
    # What all sessions get is no longer for being said many times.
    assert excluded_ids([3] * 999, 2, None, 6).shape == (2, 8)


@pytest.mark.parametrize("price", ["0.5", b"0.5", datetime.date(1970, 1, 4)], ids=str)
def test_values_of_other_types_are_no_numbers(price):
    for make in CONTAINERS.values():
        with pytest.raises(TypeError, match=r"'price' of the sessions .*numbers"):
            read(price=make(price))
    with pytest.raises(TypeError, match=r"'age' of the sessions .*numbers"):
        read(age=[price, price])


def test_id_0_of_another_column_says_nothing_and_is_not_in_files():
    ids = dict(dtype="int64", tags=("categorical",), value_count=(1, 8))
    for low, column in (
        (1, dict(ids)),
        (0, dict(ids)),
        (1, {**ids, "value_count": None}),
    ):
        kind = t4r.ColumnSchema("kind", domain=t4r.Domain(low, 5), **column)
        schema = t4r.Schema((*SCHEMA, kind))
        kinds = [[1, 0], [2]] if kind.is_list else [1, 0]
        sessions = {**GOOD, "kind": kinds}
        assert len(RaggedSessions(sessions, schema, {})) == 2
        if low == 0:
            continue
        with pytest.raises(ValueError, match=r"'kind'.*id 0 is padding"):
            t4r.KerasSequenceLoader(sessions, schema, 2, columns=["item", "kind"])
