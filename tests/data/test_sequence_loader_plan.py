"""The first two batches differ in time wherever any two batches ever do."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.loader.batch_plan import make_plan
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema

SCHEMA = Schema(
    (ColumnSchema("item", "int64", ("item_id", "categorical"), Domain(1, 9), (1, 16)),)
)


def loader_of(lengths, **arguments):
    table = pa.table({"item": pa.array([[3] * n for n in lengths])})
    return KerasSequenceLoader(table, SCHEMA, **arguments)


@pytest.mark.parametrize("first_seed", range(0, 100, 25))
def test_keras_sees_a_varying_time_in_the_first_two_batches(first_seed, tmp_path):
    for seed in range(first_seed, first_seed + 25):
        check_times(seed, tmp_path)


def check_times(seed, tmp_path):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    long_share = rng.choice([0.02, 0.3, 0.5, 0.9, 0.98])
    lengths = np.where(rng.random(count) < long_share, 16, rng.integers(1, 17, count))
    batch_size = int(rng.integers(1, 7))
    arguments = dict(
        batch_size=batch_size,
        shuffle=bool(rng.integers(2)),
        drop_last=bool(rng.integers(2)) and count >= batch_size,
        buffer_rows=None if rng.integers(2) else int(rng.integers(1, 20)),
    )
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"item": pa.array([[3] * n for n in lengths])}), path, row_group_size=5
    )
    loader = KerasSequenceLoader(path, SCHEMA, **arguments)
    epochs = []
    for epoch in range(6):
        loader.set_epoch(epoch)
        epochs.append([x["item"].shape[1] for (x,) in loader])
    if len({width for epoch in epochs for width in epoch}) > 1:
        assert all(epoch[0] != epoch[1] for epoch in epochs), (seed, arguments)


def test_a_buffer_of_long_sessions_does_not_open_the_epoch(tmp_path):
    lengths = [16] * 24 + [2, 6] * 28
    path = tmp_path / "a.parquet"
    items = pa.array([[3] * n for n in lengths])
    pq.write_table(pa.table({"item": items}), path, row_group_size=8)
    loader = KerasSequenceLoader(path, SCHEMA, 4, buffer_rows=8)
    for epoch in range(12):
        loader.set_epoch(epoch)
        widths = [x["item"].shape[1] for (x,) in loader]
        assert sorted(widths) == [4] * 7 + [8] * 7 + [16] * 6
        assert widths[0] != widths[1]


def test_sessions_of_like_length_meet_but_batches_come_in_random_order():
    lengths = np.random.default_rng(0).integers(1, 17, 64 * 40)
    plan = make_plan(
        lengths,
        32,
        16,
        rng=np.random.default_rng(1),
        trim=True,
        drop_last=False,
        rank=0,
        world_size=1,
    )
    assert sorted(plan.order) == list(range(64 * 40))
    spread = [np.ptp(-(-lengths[plan.rows(i)] // 4)) for i in range(len(plan))]
    assert np.mean(np.array(spread) == 0) > 0.9
    assert abs(np.corrcoef(plan.times[:-1], plan.times[1:])[0, 1]) < 0.4


def test_a_session_meets_other_sessions_in_every_epoch():
    loader = loader_of([5] * 640, batch_size=8, bucket=True)
    sessions = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        sessions.append(
            {frozenset(loader._locate(i)[1].tolist()) for i in range(len(loader))}
        )
    assert not sessions[0] & sessions[1]
