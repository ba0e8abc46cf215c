"""What SessionETL writes is what the loader reads."""

import numpy as np

from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import Schema


def test_a_written_folder_loads_by_its_own_schema(tmp_path):
    rng = np.random.default_rng(0)
    clicks = {
        "user": [f"u{i}" for i in rng.integers(0, 150, 900)],
        "time": rng.integers(0, 3 * 86_400, 900),
        "item": rng.zipf(1.5, 900) % 50,
        "brand": [["a", "b", None][i] for i in rng.integers(0, 3, 900)],
        "price": rng.random(900),
        "age": rng.random(900),
    }
    etl = SessionETL(
        "user",
        "time",
        "item",
        categorical=["brand"],
        continuous=["price"],
        context_continuous=["age"],
        time_unit="s",
        min_count=3,
        max_length=6,
    )
    sizes = etl.write(clicks, tmp_path / "out", progress=False)
    schema = Schema.load(tmp_path / "out" / "schema.pbtxt")
    window = str(next(iter(sizes)))
    whole = KerasSequenceLoader(tmp_path / "out", schema, 16)
    assert whole.num_sessions == sum(sizes.values())
    loader = KerasSequenceLoader(tmp_path / "out" / window, schema, 16, target="last")
    assert loader.num_sessions + loader.left_out == sizes[int(window)]
    x, y = loader[0]
    assert list(x) == [
        "item",
        "brand",
        "price",
        "dayofweek_sin",
        "recency_log_norm",
        "age",
    ]
    users = loader.session_ids(0).tolist()
    newest = {}
    order = np.argsort(clicks["time"], kind="stable")
    for row in order:
        newest[clicks["user"][row]] = clicks["item"][row]
    # Rare items are unknown, and stay as targets that are missed.
    known = {*etl.decode(np.arange(2, schema["item"].cardinality)).tolist()}
    last = [newest[user] for user in users]
    assert etl.decode(y).tolist() == [item if item in known else None for item in last]
