"""KerasSequenceLoader gives back the sessions on disk, and nothing else."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema

SCHEMA = Schema(
    (
        ColumnSchema("session_id", tags=("session_id",)),
        ColumnSchema(
            "item_id", "int64", ("item_id", "categorical"), Domain(2, 90), (1, 12)
        ),
        ColumnSchema("price", "float32", ("continuous",), None, (1, 12)),
        ColumnSchema("country", "int64", ("categorical",), Domain(1, 5)),
        ColumnSchema("age", "float32", ("continuous",)),
        ColumnSchema("window", "int64"),
    )
)


def make_sessions(count, seed=0, low=1, high=12):
    """Rows of random sessions; every other value follows from the items."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(low, high + 1, count)
    items = [rng.integers(2, 91, n).tolist() for n in lengths]
    return pa.table(
        {
            "session_id": pa.array(np.arange(count) + 10_000_000_000),
            "item_id": pa.array(items, pa.list_(pa.int64())),
            "price": pa.array([[i / 4 for i in s] for s in items]),
            "country": pa.array([s[0] % 5 + 1 for s in items], pa.int32()),
            "age": pa.array([float(sum(s)) for s in items]),
            "window": pa.array(np.ones(count, np.int64)),
        }
    )


def write(table, path, rows=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return str(path)


def sessions_of(loader):
    """All sessions of an epoch: {session id: (items, prices, country, age, y)}."""
    seen = {}
    for index in range(len(loader)):
        x, *y = loader[index]
        keys = loader.session_ids(index)
        assert len(keys) == len(x["item_id"])
        for row, key in enumerate(keys.tolist()):
            items = x["item_id"][row]
            length = int((items != 0).sum())
            assert items[:length].all(), "padding stands on the right"
            assert not x["price"][row, length:].any()
            seen.setdefault(key, []).append(
                (
                    items[:length].tolist(),
                    x["price"][row, :length].tolist(),
                    int(x["country"][row]),
                    float(x["age"][row]),
                    *(int(part[row]) for part in y),
                )
            )
    return seen


def on_disk(table, max_length=12):
    """What `sessions_of` should find for training."""
    return {
        row["session_id"]: [
            (
                row["item_id"][-max_length:],
                row["price"][-max_length:],
                row["country"],
                row["age"],
            )
        ]
        for row in table.to_pylist()
    }


@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("buffer_rows", [None, 30])
def test_an_epoch_holds_every_session_once(tmp_path, shuffle, bucket, buffer_rows):
    table = make_sessions(101)
    loader = KerasSequenceLoader(
        write(table, tmp_path / "a.parquet"),
        SCHEMA,
        8,
        shuffle=shuffle,
        bucket=bucket,
        buffer_rows=buffer_rows,
    )
    assert len(loader) == 13 and loader.num_sessions == 101
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert sessions_of(loader) == on_disk(table)


def test_columns_have_the_types_and_shapes_of_the_schemas_inputs(tmp_path):
    path = write(make_sessions(20), tmp_path / "a.parquet")
    (x,) = KerasSequenceLoader(path, SCHEMA, 6)[0]
    inputs = SCHEMA.inputs()
    assert list(x) == list(inputs)
    for name, tensor in inputs.items():
        assert x[name].dtype == tensor.dtype
        assert x[name].ndim == len(tensor.shape)


def test_the_order_of_files_and_rows_is_kept_without_shuffling(tmp_path):
    table = make_sessions(30)
    write(table.slice(0, 11), tmp_path / "deep" / "er" / "1.parquet")
    write(table.slice(11, 9), tmp_path / "deep" / "er" / "2.parquet")
    write(table.slice(20), tmp_path / "deep" / "last.parquet")
    write(table, tmp_path / "deep" / ".hidden" / "0.parquet")
    files = [tmp_path / "deep" / n for n in ("er/1.parquet", "er/2.parquet")]
    sources = {
        "folder": tmp_path,
        "glob": str(tmp_path / "deep" / "**" / "*.parquet"),
        "list": [*files, str(tmp_path / "deep" / "last.parquet")],
        "table": table,
    }
    for name, source in sources.items():
        loader = KerasSequenceLoader(source, SCHEMA, 7, shuffle=False)
        keys = np.concatenate([loader.session_ids(i) for i in range(len(loader))])
        assert keys.tolist() == table["session_id"].to_pylist(), name


def test_training_batches_keep_the_newest_events(tmp_path):
    table = make_sessions(50)
    path = write(table, tmp_path / "a.parquet")
    loader = KerasSequenceLoader(path, SCHEMA, 8, max_length=5)
    assert sessions_of(loader) == on_disk(table, max_length=5)
    assert max(loader[i][0]["item_id"].shape[1] for i in range(len(loader))) == 5


def test_the_target_is_the_last_item_and_not_among_the_inputs(tmp_path):
    table = make_sessions(60)
    path = write(table, tmp_path / "a.parquet")
    loader = KerasSequenceLoader(path, SCHEMA, 8, target="last", max_length=6)
    assert not loader.shuffle
    expected = {
        row["session_id"]: [
            (
                row["item_id"][:-1][-6:],
                row["price"][:-1][-6:],
                row["country"],
                row["age"],
                row["item_id"][-1],
            )
        ]
        for row in table.to_pylist()
        if len(row["item_id"]) > 1
    }
    assert sessions_of(loader) == expected
    assert loader[0][1].dtype == np.int32
    assert loader.left_out == 60 - len(expected) > 0


def test_an_unknown_target_stays_unless_it_is_to_be_dropped():
    table = pa.table({"item_id": [[1, 5], [5, 1], [1, 1], [6, 1, 7], [8]]})
    schema = SCHEMA.select(["item_id"])
    loader = KerasSequenceLoader(table, schema, 5, target="last")
    x, y = loader[0]
    assert x["item_id"][:, :2].tolist() == [[1, 0], [5, 0], [1, 0], [6, 1]]
    assert y.tolist() == [5, 1, 1, 7]
    assert loader.left_out == 1
    dropping = KerasSequenceLoader(
        table, schema, 5, target="last", unknown_targets="drop"
    )
    x, y = dropping[0]
    assert x["item_id"].tolist() == [[1, 0, 0, 0], [6, 1, 0, 0]]
    assert y.tolist() == [5, 7]
    assert dropping.left_out == 3


@pytest.mark.parametrize("target, longest", [(None, 12), ("last", 11)])
def test_the_last_place_of_the_longest_session_belongs_to_the_target(target, longest):
    loader = KerasSequenceLoader(
        make_sessions(50, low=12), SCHEMA, 8, target=target, bucket=False
    )
    assert loader.max_length == longest
    assert loader[0][0]["item_id"].shape == (8, longest)


def test_batches_are_as_wide_as_their_longest_session_rounded_up_to_four(tmp_path):
    path = write(make_sessions(200), tmp_path / "a.parquet")
    loader = KerasSequenceLoader(path, SCHEMA, 16)
    widths = []
    for (x,) in loader:
        longest = (x["item_id"] != 0).sum(axis=1).max()
        assert x["item_id"].shape == x["price"].shape
        widths.append(x["item_id"].shape[1])
        assert widths[-1] == -(-longest // 4) * 4
    assert set(widths) == {4, 8, 12}
    fixed = KerasSequenceLoader(path, SCHEMA, 16, bucket=False)
    assert {x["item_id"].shape[1] for (x,) in fixed} == {12}


def test_bucketing_leaves_little_padding(tmp_path):
    path = write(make_sessions(2000), tmp_path / "a.parquet", rows=500)
    events = sum(map(len, make_sessions(2000)["item_id"].to_pylist()))

    def cells(**arguments):
        loader = KerasSequenceLoader(path, SCHEMA, 32, **arguments)
        return sum(x["item_id"].size for (x,) in loader)

    assert events < cells() < 1.4 * events < cells(bucket=False)


def test_one_seed_gives_one_order_and_another_seed_another(tmp_path):
    path = write(make_sessions(90), tmp_path / "a.parquet")

    def order(**arguments):
        loader = KerasSequenceLoader(path, SCHEMA, 8, **arguments)
        return [loader.session_ids(i).tolist() for i in range(len(loader))]

    assert order(seed=3) == order(seed=3)
    assert order(seed=3) != order(seed=4)
    assert order(seed=3, buffer_rows=20) == order(seed=3, buffer_rows=20)


@pytest.mark.parametrize("buffer_rows", [None, 24])
def test_a_resumed_loader_goes_on_with_the_epoch_it_is_set_to(tmp_path, buffer_rows):
    path = write(make_sessions(90), tmp_path / "a.parquet")

    def loader():
        return KerasSequenceLoader(path, SCHEMA, 8, buffer_rows=buffer_rows)

    first, epochs = loader(), []
    for _ in range(3):
        first.on_epoch_begin()
        epochs.append([x["item_id"].tolist() for (x,) in first])
        first.on_epoch_end()
    assert epochs[0] != epochs[1] != epochs[2]
    resumed = loader()
    resumed.set_epoch(2)
    assert [x["item_id"].tolist() for (x,) in resumed] == epochs[2]


def test_looking_at_batches_does_not_change_the_epoch(tmp_path):
    loader = KerasSequenceLoader(
        write(make_sessions(50), tmp_path / "a.parquet"), SCHEMA, 8
    )
    loader.on_epoch_end()
    loader.on_epoch_begin()
    loader[0]
    loader.on_epoch_end()
    assert loader.epoch == 0


@pytest.mark.parametrize("buffer_rows", [None, 40])
@pytest.mark.parametrize("count", [96, 97, 100, 102])
def test_ranks_share_the_sessions_evenly(tmp_path, count, buffer_rows):
    table = make_sessions(count)
    path = write(table, tmp_path / "a.parquet")
    ranks = [
        KerasSequenceLoader(
            path, SCHEMA, 8, rank=rank, world_size=3, buffer_rows=buffer_rows
        )
        for rank in range(3)
    ]
    shapes = [[x["item_id"].shape for (x,) in loader] for loader in ranks]
    assert shapes[0] == shapes[1] == shapes[2]
    keys = [k for r in ranks for i in range(len(r)) for k in r.session_ids(i).tolist()]
    assert set(keys) == set(table["session_id"].to_pylist())
    assert len(keys) == count + -count % 3


def test_drop_last_leaves_only_full_batches_and_other_sessions_each_epoch(tmp_path):
    path = write(make_sessions(45), tmp_path / "a.parquet")
    loader = KerasSequenceLoader(path, SCHEMA, 8, drop_last=True)
    dropped = set()
    for epoch in range(4):
        loader.set_epoch(epoch)
        assert [len(x["item_id"]) for (x,) in loader] == [8] * 5
        dropped.add(frozenset(range(45)) - {k - 10_000_000_000 for k in ids(loader)})
    assert len(dropped) > 1


def ids(loader):
    return [k for i in range(len(loader)) for k in loader.session_ids(i).tolist()]


def test_columns_can_be_chosen_the_session_id_among_them(tmp_path):
    path = write(make_sessions(20), tmp_path / "a.parquet")
    loader = KerasSequenceLoader(
        path, SCHEMA, 5, columns=["age", "session_id"], target="last"
    )
    x, y = loader[1]
    assert list(x) == ["age", "session_id"]
    np.testing.assert_array_equal(x["session_id"], loader.session_ids(1))
    assert len(y) == len(x["age"]) == 5


def test_session_ids_may_be_text():
    table = make_sessions(6).drop(["session_id"])
    names = [f"user-{i}" for i in range(6)]
    table = table.append_column("session_id", pa.array(names))
    loader = KerasSequenceLoader(table, SCHEMA, 4, shuffle=False)
    assert loader.session_ids(1).tolist() == names[4:]
    with pytest.raises(TypeError, match="session ids of type string, but a model"):
        KerasSequenceLoader(table, SCHEMA, 4, columns=["age", "session_id"])


def test_sliced_large_and_fixed_size_lists_read_alike():
    table = make_sessions(9, low=4, high=4).slice(2, 5)
    expected = KerasSequenceLoader(table, SCHEMA, 5, shuffle=False)[0][0]
    for kind in (pa.large_list(pa.int32()), pa.list_(pa.int64(), 4)):
        items = table["item_id"].combine_chunks()
        other = table.set_column(1, "item_id", pa.array(items.to_pylist(), kind))
        x = KerasSequenceLoader(other, SCHEMA, 5, shuffle=False)[0][0]
        np.testing.assert_array_equal(x["item_id"], expected["item_id"])


@pytest.mark.parametrize("kind", ["dict", "polars", "pandas"])
def test_tables_of_other_makers_load_as_arrows(kind):
    table = make_sessions(30)
    columns = table.to_pydict()
    if kind == "dict":
        sessions = columns
    else:
        module = pytest.importorskip(kind)
        sessions = module.DataFrame(columns)
    loader = KerasSequenceLoader(sessions, SCHEMA, 8)
    assert sessions_of(loader) == on_disk(table)


def test_a_pickled_loader_gives_the_same_batches(tmp_path):
    path = write(make_sessions(90), tmp_path / "a.parquet")
    for source in (path, pq.read_table(path)):
        for buffer_rows in (None, 24):
            loader = KerasSequenceLoader(source, SCHEMA, 8, buffer_rows=buffer_rows)
            loader.set_epoch(2)
            loader[0]
            copy = pickle.loads(pickle.dumps(loader))
            assert copy.epoch == 2
            assert sessions_of(copy) == sessions_of(loader)
            assert ids(copy) == ids(loader)


def test_a_buffer_holds_a_part_of_the_data(tmp_path):
    table = make_sessions(400)
    path = write(table, tmp_path / "a.parquet", rows=20)
    loader = KerasSequenceLoader(path, SCHEMA, 8, buffer_rows=80)
    held = []
    for index in range(len(loader)):
        sessions, _, _ = loader._locate(index)
        held.append(len(sessions.table))
    assert max(held) <= 80 + 2 * 20
    assert loader._stream._sessions is None


def test_batches_beyond_the_end_are_refused(tmp_path):
    loader = KerasSequenceLoader(
        write(make_sessions(9), tmp_path / "a.parquet"), SCHEMA, 4
    )
    with pytest.raises(IndexError, match="no batch 3; there are 3"):
        loader[3]


def test_the_tutorials_parquets_load_as_they_are(shared_data):
    folder = shared_data / "t4rec_yoochoose"
    schema = Schema.load(folder / "schema_demo.pb")
    days = folder / "preproc_sessions_by_day"
    train = KerasSequenceLoader(days / "178" / "train.parquet", schema, 384)
    assert train.num_sessions == 28511
    (x,) = train[0]
    assert sorted(x) == sorted(schema.inputs())
    rows = sum(len(x["item_id-list_seq"]) for (x,) in train)
    assert rows == 28511
    valid = KerasSequenceLoader(
        days / "*" / "valid.parquet", schema, 512, target="last"
    )
    assert valid.left_out == 0
    x, y = valid[0]
    assert (y > 0).all() and x["item_id-list_seq"].shape[1] % 4 == 0
