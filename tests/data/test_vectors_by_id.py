import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import keras_t4r as t4r

COLUMN = t4r.ColumnSchema(
    "item", tags=("item_id",), domain=t4r.Domain(2, 4, "item"), value_count=(1, 5)
)
SCHEMA = t4r.Schema(
    (COLUMN,), vocabularies={"item": t4r.Vocabulary(["a", "b", "c"], name="item")}
)
VECTORS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [9.0, 9.0]], "float32")


def make(ids=("c", "a", "b", "other"), vectors=VECTORS, **more):
    return t4r.vectors_by_id(
        {"sku": list(ids), "vector": vectors}, SCHEMA, "item", **more
    )


def test_rows_are_those_of_encoded_ids():
    expected = [[0, 0], [0, 0], [3, 4], [5, 6], [1, 2]]
    np.testing.assert_array_equal(make(), expected)
    np.testing.assert_array_equal(make(missing="mean")[1], [3, 4])


def test_ids_without_a_vector_are_counted():
    with pytest.warns(UserWarning, match="2 of the 3 ids of column 'item' .* zeros"):
        table = make(["a"], VECTORS[:1])
    np.testing.assert_array_equal(table, [[0, 0], [0, 0], [1, 2], [0, 0], [0, 0]])
    with pytest.warns(UserWarning, match="the mean of the others"):
        table = make(["a"], VECTORS[:1], missing="mean")
    np.testing.assert_array_equal(table[1:], [[1, 2]] * 4)


def test_files_and_tables_are_read(tmp_path):
    table = pa.table({"v": VECTORS[:3].tolist(), "id": ["c", "a", "b"]})
    pq.write_table(table, tmp_path / "v.parquet", row_group_size=2)
    for given in (table, tmp_path / "v.parquet", str(tmp_path / "v.parquet")):
        found = t4r.vectors_by_id(given, SCHEMA, "item")
        np.testing.assert_array_equal(found, make())


def test_any_layout_and_numbers_of_several_types_are_read():
    ids = pa.array(["c", "a", "b"], pa.string_view())
    view = pa.array(VECTORS[:3].tolist(), pa.list_view(pa.float32()))
    found = t4r.vectors_by_id(pa.table({"id": ids, "v": view}), SCHEMA, "item")
    np.testing.assert_array_equal(found, make())
    mixed = {"id": ["a", "b", "c"], "v": [[1, np.float16(0.5)]] * 3}
    found = t4r.vectors_by_id(mixed, SCHEMA, "item")
    np.testing.assert_array_equal(found[2:], [[1, 0.5]] * 3)


@pytest.mark.parametrize(
    ("ids", "vectors", "why"),
    [
        (["a", "a"], VECTORS[:2], "Id 'a' has several vectors"),
        (["x", "y"], VECTORS[:2], "None of the ids"),
        (["a", "b"], [[1.0], [1.0, 2.0]], r"widths \[1, 2\]"),
        (["a", "b"], [[1.0], None], r"widths \[-1, 1\]"),
        (["a", "b"], [[1.0], [float("nan")]], "row 2: a number"),
        (["a", "b"], [[1], [2]], "hold int64; they should hold floats"),
        (["a", "b"], [[1.0], [None]], "with nulls"),
        (["a", "b"], [1.0, 2.0], "a column of raw ids and one of lists"),
        ([1, 2], VECTORS[:2], "holds values of type int64"),
        (["a"], VECTORS[:2], "differ in length: {'sku': 1, 'vector': 2}"),
        ([2**70], VECTORS[:1], "Column 'sku' of the vectors cannot be read"),
        (["a", 1], VECTORS[:2], "Column 'sku' of the vectors cannot be read"),
        (["a"], np.ones((1, 2, 2)), "Column 'vector' of the vectors cannot be read"),
    ],
)
def test_what_is_no_table_of_vectors_is_refused(ids, vectors, why):
    with pytest.raises((TypeError, ValueError), match=why):
        make(ids, vectors)


def test_without_a_vocabulary_raw_ids_mean_nothing():
    with pytest.raises(ValueError, match="has no vocabulary"):
        t4r.vectors_by_id({}, t4r.Schema((COLUMN,)), "item")
    with pytest.raises(FileNotFoundError, match="no file of vectors at nowhere"):
        t4r.vectors_by_id("nowhere.parquet", SCHEMA, "item")
    with pytest.raises(TypeError, match="this is a list"):
        t4r.vectors_by_id([], SCHEMA, "item")
