"""JAX splits batches over devices: the loader's divide by them, the last one too."""

import importlib.util
import os
import subprocess
import sys

import pytest

SCRIPT = """
import keras
import numpy as np
from keras import ops

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.metrics import NDCG
from keras_t4r.schema import ColumnSchema, Domain, Schema

TAGS = ("item_id", "categorical")
ITEM = ColumnSchema("item_id", "int64", TAGS, Domain(2, 20), (1, 9))
SCHEMA = Schema((ITEM, ColumnSchema("bought")))
rng = np.random.default_rng(3)
items = [rng.integers(2, 21, n).tolist() for n in rng.integers(2, 10, 21)]
SESSIONS = {"item_id": items, "bought": rng.integers(0, 2, 21)}


def run():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None,), dtype="int32", name="item_id")
    x = ops.sum(keras.layers.Embedding(21, 4, mask_zero=True)(inputs), axis=1)
    outputs = {
        "item_id": keras.layers.Dense(21, name="next")(x),
        "bought": keras.layers.Dense(1, "sigmoid", name="bought")(x),
    }
    model = keras.Model({"item_id": inputs}, outputs)
    reduction = "mean_with_sample_weight"
    model.compile(
        keras.optimizers.SGD(0.1),
        loss={
            "item_id": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction=reduction
            ),
            "bought": keras.losses.BinaryCrossentropy(reduction=reduction),
        },
        weighted_metrics={"item_id": [NDCG(5)], "bought": ["accuracy"]},
    )
    loader = KerasSequenceLoader(
        SESSIONS, SCHEMA, 8, target="last", targets=["bought"]
    )
    print(loader.batch_multiple, [len(loader[i][0]["item_id"]) for i in range(3)])
    model.fit(loader, validation_data=loader, epochs=2, verbose=0, shuffle=False)
    plain = KerasSequenceLoader(SESSIONS, SCHEMA, 8, target="last")
    assert len(plain[2]) == 2
    assert len(model.predict(plain, verbose=0)["bought"]) == sum(
        len(plain[i][0]["item_id"]) for i in range(3)
    )
    return model.get_weights(), model.evaluate(loader, verbose=0, return_dict=True)


weights, logs = run()
keras.distribution.set_distribution(keras.distribution.DataParallel())
split_weights, split_logs = run()
for one, other in zip(weights, split_weights, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
for name in logs:
    if "loss" not in name:
        np.testing.assert_allclose(logs[name], split_logs[name], rtol=1e-5)
print("equal")
"""


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
def test_two_devices_learn_and_rank_as_one_does(tmp_path):
    script = tmp_path / "split.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    expected = ["1 [8, 8, 5]", "2 [8, 8, 6]", "equal"]
    assert done.stdout.strip().splitlines() == expected, done.stderr
