"""Worker processes that are spawned give the batches that the loader gives."""

import os
import subprocess
import sys

SCRIPT = """
import multiprocessing

import numpy as np
import pyarrow as pa
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema

TAGS = ("item_id", "categorical")
ITEM = ColumnSchema("item_id", "int64", TAGS, Domain(1, 20), (1, 9))


def make(**arguments):
    rng = np.random.default_rng(3)
    items = [rng.integers(1, 21, n).tolist() for n in rng.integers(1, 10, 60)]
    columns = {"item_id": items, "bought": rng.integers(0, 2, 60)}
    schema = Schema((ITEM, ColumnSchema("bought")))
    return KerasSequenceLoader(columns, schema, 8, targets=["bought"], **arguments)


def main():
    multiprocessing.set_start_method("spawn")
    loader = make(workers=2, use_multiprocessing=True)
    adapter = PyDatasetAdapter(loader)
    expected = make()
    loader.set_epoch(4)
    expected.set_epoch(4)
    adapter.on_epoch_begin()
    batches = list(adapter.get_numpy_iterator())
    adapter.on_epoch_end()
    assert len(batches) == len(expected) == 8
    for (x, y), (known_x, known_y) in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(x["item_id"], known_x["item_id"])
        np.testing.assert_array_equal(y["bought"], known_y["bought"])
    # So the next epoch's workers get another order.
    assert loader.epoch == 5
    print("equal")


if __name__ == "__main__":
    main()
"""


def test_spawned_workers_keep_the_order_of_the_epoch(tmp_path):
    script = tmp_path / "spawn.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "equal", done.stderr
