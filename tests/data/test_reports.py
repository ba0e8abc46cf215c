"""Faults that people reported of other packages, tried on this one.

Each case names its report. What was right already is held here; what was not was
mended with its kind.
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import keras_t4r as t4r
from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.schema import Vocabulary


def etl(**options):
    options = {"time_unit": "s", "recency": False, "time_features": (), **options}
    return SessionETL("s", "t", "i", **options)


def raw_items(fitted, sessions):
    return [fitted.decode(np.array(row)).tolist() for row in sessions["i"].to_pylist()]


def test_a_quote_in_a_column_that_is_not_read(tmp_path):
    """pola-rs/polars#22395: a row is gone where a later column holds a quote."""
    path = tmp_path / "a.csv"
    path.write_text('1,1,7,2"3\n1,2,8,5\n')
    fitted = etl()
    sessions = fitted.fit_transform(ClickLog(path, columns=["s", "t", "i", "x"]))
    assert raw_items(fitted, sessions) == [[7, 8]]


def test_a_short_line_is_no_line_of_nulls(tmp_path):
    """pola-rs/polars#10585: fields that are missing, or too many, vanish."""
    path = tmp_path / "a.csv"
    path.write_text("s,t,i,c\n1,1,7,a\n1,2,8\n1,3,9,b\n")
    with pytest.raises(ValueError, match="Line 3 of"):
        etl(categorical=["c"]).fit(path)


def test_a_log_of_lines_of_all_widths(tmp_path):
    """pola-rs/polars#28343: names for a file without a header, whose lines differ."""
    path = tmp_path / "a.csv"
    path.write_text("1,1\n1,2,7,8\n")
    with pytest.raises(ValueError, match="Line 2 of"):
        ClickLog(path, columns=["s", "t", "i", "c"])


def test_text_in_another_encoding_is_not_read_as_nothing(tmp_path):
    """opendp/opendp#1976: rows with letters in another encoding become null."""
    path = tmp_path / "a.csv"
    path.write_bytes("s,t,i\n1,1,caf\xe9\n1,2,th\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"Line 2 of .* is not UTF-8 text"):
        etl().fit(path)


def test_clicks_within_a_second_keep_their_order():
    """RUCAIBox/RecBole#2204, #1653: times in float32 put events in another order."""
    clicks = {
        "s": [1, 1, 1],
        "t": [1_700_000_000.75, 1_700_000_000.25, 1_700_000_000.5],
        "i": [7, 8, 9],
    }
    fitted = etl()
    assert raw_items(fitted, fitted.fit_transform(clicks)) == [[8, 9, 7]]
    # Where the file holds them so, they are lost already.
    narrow = pl.DataFrame(clicks).with_columns(pl.col("t").cast(pl.Float32))
    with pytest.raises(TypeError, match="'t' of the clicks holds float32"):
        etl().fit(narrow)


def test_rows_in_any_order_are_sorted_by_their_times():
    """agiresearch/IDGenRec#3: sequences in the order of the file, not of time."""
    clicks = {"s": [1, 2, 1, 2], "t": [5, 4, 2, 3], "i": [7, 8, 9, 6]}
    fitted = etl()
    assert raw_items(fitted, fitted.fit_transform(clicks)) == [[9, 7], [6, 8]]


def test_rows_that_stand_twice_count_once():
    """chongminggao/KuaiRec#2: the same user, item and time up to 2,224 times."""
    clicks = {"s": [1] * 5, "t": [1, 1, 2, 2, 2], "i": [7, 7, 8, 8, 8]}
    fitted = etl()
    assert raw_items(fitted, fitted.fit_transform(clicks)) == [[7, 8]]


def test_an_unseen_value_is_unknown_and_not_its_neighbour():
    """NVIDIA-Merlin/NVTabular#312: a search in sorted values gives the next one."""
    vocabulary = Vocabulary(list(range(0, 3000, 3)), name="i")
    unknown = vocabulary.unknown_id
    for count in (1, 2000):  # By a search, and by a hash table.
        assert set(vocabulary.encode([4] * count).tolist()) == {unknown}
        assert set(vocabulary.encode([-1] * count).tolist()) == {unknown}
        assert set(vocabulary.encode([10**12] * count).tolist()) == {unknown}


def test_values_and_counts_of_a_vocabulary_belong_together(tmp_path):
    """NVIDIA-Merlin/NVTabular#1128: with nulls, counts stand a row too far down."""
    clicks = {"s": [1] * 6, "t": range(6), "i": [7, 8, 9, 7, 8, 7]}
    clicks["c"] = [None, "b", "b", None, "a", "b"]
    clicks = {name: list(values) for name, values in clicks.items()}
    etl(categorical=["c"]).write(clicks, tmp_path / "log", progress=False)
    table = pl.read_parquet(tmp_path / "log" / "vocabularies" / "c.parquet")
    assert dict(table.rows()) == {"b": 3, "a": 1}


@pytest.fixture
def schema():
    item = t4r.ColumnSchema(
        "item_id",
        tags=("item_id", "categorical"),
        domain=t4r.Domain(2, 9),
        value_count=(1, 8),
    )
    age = t4r.ColumnSchema("age", "float32", ("continuous",), None, (1, 8))
    return t4r.Schema((item, age))


def test_a_session_of_no_events_is_named(schema):
    """activeviam/atoti-notebooks#190: an empty list among the rows."""
    table = pa.table({"item_id": [[3], []], "age": [[0.5], []]})
    with pytest.raises(ValueError, match="row 2: the list is empty"):
        t4r.KerasSequenceLoader(table, schema, 2)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int64(), pa.uint64()])
def test_ids_of_any_width_are_the_same_ids(schema, kind):
    """RUCAIBox/RecBole#1016: Int and Long columns do not go together."""
    for lists in (pa.list_, pa.large_list):
        items = pa.array([[3, 4], [5]], lists(kind))
        ages = pa.array([[1, 2], [3]], lists(pa.float64()))
        table = pa.table({"item_id": items, "age": ages})
        (x,) = t4r.KerasSequenceLoader(table, schema, 2, shuffle=False)[0]
        assert x["item_id"].dtype == "int32" and x["age"].dtype == "float32"
        assert x["item_id"][:, :2].tolist() == [[3, 4], [5, 0]]


def test_numbers_of_events_are_read_as_numbers(schema):
    """RUCAIBox/RecBole#2043: a sequence of floats, whatever they are, counts alike."""
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=4)
    items = np.array([[3, 4, 5, 0]])
    ages = np.array([[0.1, 0.2, 0.3, 0.0]], "float32")
    outputs = [
        np.array(features({"item_id": items, "age": age})[0]) for age in (ages, -ages)
    ]
    assert np.abs(outputs[0] - outputs[1]).max() > 0.1


def test_times_of_a_warehouse_keep_their_fractions():
    times = pl.Series([1_400_000_000.75, 1_400_000_000.25]).cast(pl.Decimal(20, 6))
    fitted = etl()
    clicks = pl.DataFrame({"s": [1, 1], "t": times, "i": [7, 8]})
    assert raw_items(fitted, fitted.fit_transform(clicks)) == [[8, 7]]


def test_sessions_that_were_edited_are_read(schema, tmp_path):
    """A column more, or fewer, by any tool."""
    import pyarrow.parquet as pq

    from keras_t4r.files.parquet import write_parquet

    table = pa.table({"item_id": [[3, 4], [5]], "age": [[1.0, 2.0], [3.0]]})
    write_parquet(table, tmp_path / "a.parquet")
    edited = pq.read_table(tmp_path / "a.parquet").append_column("w", [[1.0, 2.0]])
    pq.write_table(edited, tmp_path / "b.parquet")
    assert t4r.KerasSequenceLoader(tmp_path / "b.parquet", schema, 2).num_sessions == 2
