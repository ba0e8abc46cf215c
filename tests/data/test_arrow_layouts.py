"""The same sessions in every layout that Arrow has for them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.loader.arrow_layouts import one_array
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema
from keras_t4r.training.baselines import Popularity

SCHEMA = Schema(
    (
        ColumnSchema("key", tags=("session_id",)),
        ColumnSchema(
            "item", tags=("item_id",), domain=Domain(2, 9), value_count=(1, 8)
        ),
    )
)
ITEMS = [[3, 4], [5, 6], [7, 8]]
LISTS = {
    "list": pa.list_,
    "large": pa.large_list,
    "fixed": lambda kind: pa.list_(kind, 2),
    "view": pa.list_view,
    "large view": pa.large_list_view,
}
VALUES = {
    "plain": lambda values: values,
    "dictionary": lambda values: values.dictionary_encode(),
    "runs": pc.run_end_encode,
}


@pytest.fixture(autouse=True)
def fresh_session():
    """Reading needs no Keras session."""


def lists(layout, of="plain", items=ITEMS):
    values = VALUES[of](pa.array([i for row in items for i in row]))
    offsets, sizes = [0, 2, 4, 6], [2, 2, 2]
    if layout == "list":
        return pa.ListArray.from_arrays(offsets, values)
    if layout == "large":
        return pa.LargeListArray.from_arrays(offsets, values)
    if layout == "fixed":
        return pa.FixedSizeListArray.from_arrays(values, 2)
    kind = pa.ListViewArray if layout == "view" else pa.LargeListViewArray
    return kind.from_arrays(offsets[:-1], sizes, values)


def read(table):
    loader = KerasSequenceLoader(table, SCHEMA, 2, shuffle=False, buffer_rows=2)
    batches = [loader[i][0]["item"][:, :2].tolist() for i in range(len(loader))]
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("of", VALUES)
@pytest.mark.parametrize("layout", LISTS)
def test_lists_of_any_layout_are_sessions(layout, of):
    items = lists(layout, of)
    assert read(pa.table({"item": items})) == ITEMS
    assert read(pa.table({"item": items}).slice(1)) == ITEMS[1:]
    two = pa.concat_tables([pa.table({"item": items}), pa.table({"item": items[1:]})])
    assert read(two) == ITEMS + ITEMS[1:]
    plain = pa.table({"item": read(two)})
    one, other = (Popularity(SCHEMA).update(window) for window in (two, plain))
    assert (one.predict([[3]]) == other.predict([[3]])).all()


@pytest.mark.parametrize("layout", LISTS)
def test_null_lists_are_named_in_any_layout(layout):
    kind = LISTS[layout](pa.int64())
    table = pa.table({"item": pa.array([[3, 4], None, [5, 6]], kind)})
    with pytest.raises(ValueError, match="column 'item', row 2: the list is null"):
        read(table)
    held = one_array(table["item"])
    assert held.to_pylist() == [[3, 4], None, [5, 6]]


def test_views_may_overlap_and_stand_in_any_order():
    view = pa.ListViewArray.from_arrays([2, 0, 1], [2, 3, 1], pa.array([3, 4, 5, 6]))
    assert one_array(view).to_pylist() == [[5, 6], [3, 4, 5], [4]]


LONG = "b" * 40
TEXTS = ["a", LONG, "a"]
KEYS = {
    "text": pa.array(TEXTS, pa.string_view()),
    "bytes": pa.array(TEXTS, pa.string()).cast(pa.binary()).cast(pa.binary_view()),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "dictionary of views": pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 0]), pa.array(["a", LONG], pa.string_view())
    ),
    "runs": pc.run_end_encode(pa.array(TEXTS)),
}


@pytest.mark.parametrize("layout", KEYS)
def test_session_ids_of_any_layout_come_back(layout):
    table = pa.table({"item": ITEMS, "key": KEYS[layout]})
    loader = KerasSequenceLoader(table, SCHEMA, 3, shuffle=False)
    expected = [t.encode() for t in TEXTS] if layout == "bytes" else TEXTS
    assert loader.session_ids(0).tolist() == expected


def test_text_for_ids_is_named_in_any_layout():
    words = pa.array(["a", "b", "c", "d", "e", "f"])
    for values in (words, words.cast(pa.string_view()), words.dictionary_encode()):
        items = pa.ListArray.from_arrays([0, 2, 4, 6], values)
        with pytest.raises(
            TypeError, match=r"'item' holds values .*with SessionETL first"
        ):
            read(pa.table({"item": items}))


def test_files_hold_dictionaries_too(tmp_path):
    pq.write_table(
        pa.table({"item": lists("list", "dictionary")}), tmp_path / "a.parquet"
    )
    assert read(tmp_path / "a.parquet") == ITEMS


@pytest.mark.parametrize("pair", [(1, np.float16(0.5)), (np.float32(0.5), np.int64(2))])
def test_numbers_of_several_types_are_each_their_own_value(pair):
    price = ColumnSchema("price", "float32", ("continuous",), value_count=(1, 8))
    schema = Schema((SCHEMA["item"], price))
    for prices in ([list(pair)], [pair]):
        sessions = {"item": [[3, 4]], "price": prices}
        (x,) = KerasSequenceLoader(sessions, schema, 1)[0]
        assert x["price"][0, :2].tolist() == [float(number) for number in pair]
