"""Milliseconds a training step takes through `fit` with the loader.

    python benchmarks/train.py
    python benchmarks/train.py --against ../older-checkout

Sessions are random; what is timed is the step, not what it learns. Beside each figure
stands the same step on one ready-made batch, without loader and callbacks: the limit
of what `fit` could reach. `--against` times another checkout of this package too, by
turns, each in a process of its own, and prints the ratio.
"""

import argparse
import json
import os
import subprocess
import sys
import time

CASES = [(scheme, items) for items in (5_000, 50_000) for scheme in ("mlm", "clm")]


def make_model(t4r, keras, scheme, schema, width):
    inputs = schema.inputs()
    items = inputs["item_id"]
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=width)
    made = features(inputs)
    x, table = made if isinstance(made, tuple) else (made, None)
    if scheme == "clm":
        x, targets = t4r.CausalLanguageModeling()(x, items)
    else:
        x, targets = t4r.MaskedLanguageModeling(0.3)(x, items)
    config = t4r.session_config(
        "gpt2" if scheme == "clm" else "bert",
        width,
        n_head=2,
        n_layer=2,
        max_length=20,
    )
    x = t4r.TransformerBlock(config, causal=scheme == "clm")(x)
    if table is None:
        # A checkout from before features returned their table.
        scores = t4r.NextItemHead(features.item_embedding)(x, targets)
    else:
        scores = t4r.NextItemHead()(x, targets, table)
    model = t4r.SessionModel(inputs, scores)
    model.compile(keras.optimizers.Adam(1e-3), metrics=[t4r.metrics.NDCG(20)])
    return model


def sessions(items, count, seed=0):
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 21, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype("int32")
    ids = rng.integers(2, items + 2, offsets[-1]).astype("int32")
    return pa.table({"item_id": pa.ListArray.from_arrays(pa.array(offsets), ids)})


def measure(scheme, items, batch_size, steps, width):
    """Milliseconds of a step: `(through fit, of one ready-made batch)`."""
    import keras

    import keras_t4r as t4r

    column = t4r.ColumnSchema(
        "item_id",
        tags=("item_id", "categorical"),
        domain=t4r.Domain(2, items + 1),
        value_count=(1, 20),
    )
    schema = t4r.Schema((column,))
    table = sessions(items, batch_size * steps)
    loader = t4r.KerasSequenceLoader(table, schema, batch_size, bucket=False)
    model = make_model(t4r, keras, scheme, schema, width)
    model.fit(loader, epochs=1, verbose=0)
    started = time.perf_counter()
    model.fit(loader, epochs=2, verbose=0)
    through_fit = (time.perf_counter() - started) / (2 * steps)
    (batch,) = loader[0]
    model.train_on_batch(batch)
    started = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(batch)
    return 1e3 * through_fit, 1e3 * (time.perf_counter() - started) / steps


def run(checkout, arguments, case):
    """`measure` in a process of its own, with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": checkout, "TF_CPP_MIN_LOG_LEVEL": "3"}
    sizes = [arguments.batch_size, arguments.steps, arguments.width]
    command = [sys.executable, os.path.abspath(__file__), "--one"]
    command.append(json.dumps([*case, *sizes]))
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        sys.exit(f"The run of {case} in {checkout} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", help="another checkout of this package")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*json.loads(arguments.one))))
        return
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    print(
        f"{'scheme':8s}{'items':>8s}{'fit ms':>10s}{'batch ms':>10s}{'ratio':>8s}",
        end="",
    )
    print(f"{'other ms':>10s}{'ours/other':>12s}" if arguments.against else "")
    for case in CASES:
        # By turns, and the best of each, so that what else runs weighs less.
        ours, others = [], []
        for _ in range(arguments.repeats):
            ours.append(run(here, arguments, case))
            if arguments.against:
                others.append(run(arguments.against, arguments, case))
        fit, batch = (min(column) for column in zip(*ours, strict=True))
        print(
            f"{case[0]:8s}{case[1]:8,d}{fit:10.1f}{batch:10.1f}{fit / batch:8.2f}",
            end="",
        )
        if others:
            other = min(row[0] for row in others)
            print(f"{other:10.1f}{fit / other:12.2f}", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
