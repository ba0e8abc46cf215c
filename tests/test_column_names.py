"""A column that stands twice is refused in one sentence by all that read it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import keras_t4r as t4r
from keras_t4r.serving import triton_client
from keras_t4r.training.baselines import Popularity

ITEM = t4r.ColumnSchema(
    "item_id", tags=("item_id",), domain=t4r.Domain(2, 4), value_count=(1, 5)
)
SESSION = t4r.ColumnSchema("session_id", tags=("session_id",))
SCHEMA = t4r.Schema(
    (ITEM, SESSION), vocabularies={"item_id": t4r.Vocabulary(["a", "b", "c"])}
)
COLUMNS = {
    "session_id": [1, 2],
    "item_id": [[2, 3], [4]],
    "other": [0, 0],
    "id": ["a", "b"],
    "vector": [[1.0], [2.0]],
    "price": [1.0, 2.0],
}


def table(*names):
    return pa.Table.from_arrays([pa.array(COLUMNS[name]) for name in names], names)


def load(sessions):
    return t4r.KerasSequenceLoader(sessions, SCHEMA, 2)[0]


def learn(sessions):
    return Popularity(SCHEMA).update(sessions)


def vectors(table):
    return t4r.vectors_by_id(table, SCHEMA, "item_id")


def ask(rows):
    return triton_client._arrays(rows, {"price": "float64"})


FILED = [
    (load, ("session_id", "item_id", "item_id")),
    (load, ("session_id", "item_id", "session_id")),
    (learn, ("item_id", "item_id")),
    (vectors, ("id", "vector", "vector")),
    (vectors, ("id", "vector", "id")),
]
# Requests come from memory.
ASKED = (ask, ("id", "price", "price"))


@pytest.mark.parametrize(
    ("read", "names", "in_a_file"),
    [(*case, True) for case in FILED] + [(*case, False) for case in [*FILED, ASKED]],
)
def test_it_is_named(read, names, in_a_file, tmp_path):
    given = table(*names)
    if in_a_file:
        pq.write_table(given, tmp_path / "twice.parquet")
        given = str(tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match=f"names column {names[-1]!r} twice: rename"):
        read(given)


@pytest.mark.parametrize("read", [load, learn])
def test_what_is_not_read_may(read, tmp_path):
    given = table("session_id", "item_id", "other", "other")
    pq.write_table(given, tmp_path / "twice.parquet")
    read(given)
    read(str(tmp_path / "twice.parquet"))
