"""Losses of a small model on one device or several; run as a program of its own.

    python distributed_runs.py KIND FILE

`KIND` is `one`, `mirrored` (TensorFlow), `data` or `model` (JAX). Saves the model to
`FILE` and prints JSON.
"""

import json
import os
import sys

KIND, FILE = sys.argv[1:]
DEVICES = 1 if KIND == "one" else 2
# Beside what compiles quickly, as the tests that start it have it.
_FLAGS = os.environ.get("XLA_FLAGS", "").split()
_FLAGS.append(f"--xla_force_host_platform_device_count={DEVICES}")
os.environ["XLA_FLAGS"] = " ".join(_FLAGS)

# As in conftest: PyTorch's GPU compiler does not stand TensorFlow beside it.
sys.modules.setdefault("triton", None)

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from keras import ops  # noqa: E402
from penalty import Penalty  # noqa: E402

import keras_t4r as t4r  # noqa: E402

# Neither the table's rows (43) nor the sessions (50) divide by the devices or batches.
ITEMS, WIDTH, SESSIONS = 41, 8, 50
SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, ITEMS + 1),
            value_count=(1, 8),
        ),
    )
)


def sessions(seed, unknown):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 9, SESSIONS)
    rows = [rng.integers(2, ITEMS + 2, n).tolist() for n in lengths]
    if unknown:
        # Targets without a likelihood, of which one device has more than the other.
        for row in rows[::5]:
            row[-1] = 1
    return pa.table({"item_id": pa.array(rows, pa.list_(pa.int32()))})


def loader(seed, target=None, **options):
    table = sessions(seed, unknown=target == "last")
    return t4r.KerasSequenceLoader(
        table, SCHEMA, 16, target=target, bucket=False, **options
    )


def make_model():
    keras.utils.set_random_seed(1)
    inputs = SCHEMA.inputs()
    features = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=WIDTH)
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    config = t4r.session_config("gpt2", WIDTH, n_head=2, n_layer=1, dropout=0.0)
    # Replicas share layers, and with them the losses that a user's layer adds.
    x = Penalty()(t4r.TransformerBlock(config)(x))
    scores = t4r.NextItemHead()(x, targets, table)
    model = t4r.SessionModel(inputs, scores)
    model.compile(keras.optimizers.SGD(0.1), metrics=[t4r.metrics.NDCG(5)])
    return model


def run():
    model = make_model()
    train = loader(0, shuffle=False)
    losses = model.fit(train, epochs=2, verbose=0).history["loss"]
    test = loader(1, target="last")
    logs = model.evaluate(test, verbose=0, return_dict=True)
    model.save(FILE)
    x, _ = test[0]
    scores = ops.convert_to_numpy(model.predict(x, verbose=0))
    return {"losses": losses, "logs": logs, "scores": scores[:, 2:].tolist()}


def main():
    if KIND == "mirrored":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        virtual = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, virtual)
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            result = run()
    else:
        if KIND == "data":
            keras.distribution.set_distribution(keras.distribution.DataParallel())
        elif KIND == "model":
            mesh = keras.distribution.DeviceMesh(
                (1, 2), ["batch", "model"], keras.distribution.list_devices("cpu")
            )
            layout = keras.distribution.LayoutMap(mesh)
            layout[".*item_id_embedding/embeddings"] = ("model", None)
            keras.distribution.set_distribution(
                keras.distribution.ModelParallel(layout_map=layout)
            )
        result = run()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
