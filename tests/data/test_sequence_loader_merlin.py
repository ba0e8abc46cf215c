"""engine="merlin" gives the same batches as Arrow's own reader."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema

pytest.importorskip(
    "merlin.dataloader",
    reason="merlin-dataloader is not installed (it ends with Python 3.11)",
    exc_type=ImportError,
)

SCHEMA = Schema(
    (
        ColumnSchema("session_id", tags=("session_id",), dtype="string"),
        ColumnSchema(
            "item_id", "int64", ("item_id", "categorical"), Domain(2, 90), (1, 12)
        ),
        ColumnSchema("price", "float32", ("continuous",), None, (1, 12)),
        ColumnSchema("country", "int64", ("categorical",), Domain(1, 5)),
        ColumnSchema("age", "float32", ("continuous",)),
    )
)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("2", "1"):
        items = [rng.integers(2, 91, n).tolist() for n in rng.integers(1, 13, 60)]
        columns = {
            "session_id": [f"{name}-{i}" for i in range(60)],
            "item_id": items,
            "price": [[i / 3 for i in s] for s in items],
            "country": [s[0] % 5 + 1 for s in items],
            "age": [len(s) / 7 for s in items],
        }
        pq.write_table(
            pa.table(columns), tmp_path / f"{name}.parquet", row_group_size=9
        )
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"target": "last"},
        {"max_length": 5, "seed": 3},
        {"rank": 1, "world_size": 2},
        {"bucket": False, "shuffle": False, "columns": ["price"]},
    ],
    ids=str,
)
def test_both_engines_give_the_same_batches(folder, arguments):
    arrow = KerasSequenceLoader(folder, SCHEMA, 16, **arguments)
    merlin = KerasSequenceLoader(folder, SCHEMA, 16, engine="merlin", **arguments)
    assert len(arrow) == len(merlin) > 3
    for epoch in range(2):
        arrow.set_epoch(epoch)
        merlin.set_epoch(epoch)
        for index in range(len(arrow)):
            x, *y = arrow[index]
            other_x, *other_y = merlin[index]
            assert list(x) == list(other_x)
            for name in x:
                assert x[name].dtype == other_x[name].dtype
                np.testing.assert_array_equal(x[name], other_x[name])
            assert [part.tolist() for part in y] == [p.tolist() for p in other_y]
            ids, other_ids = arrow.session_ids(index), merlin.session_ids(index)
            assert ids.tolist() == other_ids.tolist()


def test_the_tutorials_parquets_read_alike(shared_data):
    root = shared_data / "t4rec_yoochoose"
    schema = Schema.load(root / "schema_demo.pb")
    path = root / "preproc_sessions_by_day" / "178" / "valid.parquet"
    arrow = KerasSequenceLoader(path, schema, 512)
    merlin = KerasSequenceLoader(path, schema, 512, engine="merlin")
    for (x,), (other,) in zip(arrow, merlin, strict=True):
        for name in x:
            np.testing.assert_array_equal(x[name], other[name])


def test_faults_are_named_as_with_arrow(folder):
    path = folder / "bad.parquet"
    table = pq.read_table(folder / "1.parquet")
    items = table["item_id"].to_pylist()
    items[41] = [3, None] + items[41][2:] if len(items[41]) > 1 else [None]
    pq.write_table(
        table.set_column(1, "item_id", pa.array(items)), path, row_group_size=9
    )
    with pytest.raises(ValueError, match="column 'item_id', row 42: a value is null"):
        KerasSequenceLoader(path, SCHEMA, 8, engine="merlin")


def test_lists_of_lists_are_refused_as_with_arrow(folder):
    path = folder / "nested.parquet"
    table = pq.read_table(folder / "1.parquet")
    prices = [[[0.5] * 4] * len(s) for s in table["item_id"].to_pylist()]
    pq.write_table(table.set_column(2, "price", pa.array(prices)), path)
    with pytest.raises(TypeError, match="column 'price' holds lists of lists"):
        KerasSequenceLoader(path, SCHEMA, 8, engine="merlin")


def test_files_with_and_without_session_ids_are_not_mixed(folder):
    table = pq.read_table(folder / "1.parquet").drop(["session_id"])
    pq.write_table(table, folder / "3.parquet")
    with pytest.raises(ValueError, match=r"3\.parquet has no such column"):
        KerasSequenceLoader(folder, SCHEMA, 8, engine="merlin")


def test_a_table_is_not_a_file_that_merlin_reads(folder):
    table = pq.read_table(folder / "1.parquet")
    with pytest.raises(TypeError, match="reads parquet files, not a table"):
        KerasSequenceLoader(table, SCHEMA, 8, engine="merlin")
