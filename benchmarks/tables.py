"""What a training step costs as the catalogue grows: time, and memory at its highest.

    python benchmarks/tables.py
    python benchmarks/tables.py --items 50000 1000000 --dim 32

Each row is a process of its own: SASRec's block, one layer, sessions of 20 items, 64 a
batch, 256 items drawn for the sampled softmax. `row-sparse` trains by `RowSparseAdam`,
`dense` by Keras's Adam; `full` is the exact softmax, in chunks, by Keras's Adam. Memory
is what the process holds at most above what it held before the model was made; beside
it stands what table and moments take by themselves.
"""

import argparse
import subprocess
import sys
import time

KINDS = ("row-sparse", "dense", "full")
TIME, BATCH, NEGATIVES = 20, 64, 256
LIMIT = 60.0  # seconds, and at least one step


def held(field):
    """Bytes of the process: `VmRSS` now, `VmHWM` at most."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) * 1024


def measure(kind, items, dim, steps):
    import keras
    import numpy as np

    import keras_t4r as t4r

    column = t4r.ColumnSchema(
        "item_id",
        tags=("item_id", "categorical"),
        domain=t4r.Domain(2, items + 1),
        value_count=(1, TIME),
    )
    schema = t4r.Schema((column,))
    rng = np.random.default_rng(0)
    x = rng.integers(2, items + 2, (BATCH * 4, TIME)).astype("int32")
    before = held("VmRSS")
    inputs = schema.inputs()
    x_table = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=dim)(inputs)
    events, targets = t4r.CausalLanguageModeling()(x_table[0], inputs["item_id"])
    config = t4r.session_config("sasrec", d_model=dim, n_layer=1, max_length=TIME)
    events = t4r.TransformerBlock(config, causal=True)(events)
    full = kind == "full"
    loss = t4r.losses.FullSoftmax() if full else t4r.losses.SampledSoftmax(NEGATIVES)
    scores = t4r.NextItemHead(loss=loss)(events, targets, x_table[1])
    model = t4r.SessionModel(inputs, scores)
    sparse = kind == "row-sparse"
    adam = t4r.optimizers.RowSparseAdam if sparse else keras.optimizers.Adam
    model.compile(adam(1e-3), metrics=[])
    batches = [{"item_id": part} for part in np.split(x, 4)]
    for batch in batches[:2]:
        model.train_on_batch(batch)
    start, took, step = time.perf_counter(), 0.0, 0
    while step < steps and took < LIMIT:
        model.train_on_batch(batches[step % 4])
        step += 1
        took = time.perf_counter() - start
    took /= step
    # The table and its bias, with two moments each.
    state = 3 * (items + 2) * (dim + 1) * 4
    return took, held("VmHWM") - before, state


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--items", type=int, nargs="+", default=[50_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        kind, items = args.one
        print(*measure(kind, int(items), args.dim, args.steps))
        return
    print(f"{'items':>10} {'kind':<10} {'ms a step':>10} {'MB':>7} {'of state':>9}")
    for items in args.items:
        for kind in args.kinds:
            command = [sys.executable, __file__, "--one", kind, str(items)]
            command += ["--dim", str(args.dim), "--steps", str(args.steps)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                sys.exit(run.stderr)
            took, most, state = map(float, run.stdout.split()[-3:])
            print(
                f"{items:>10,} {kind:<10} {took * 1e3:>10.1f} {most / 1e6:>7,.0f} "
                f"{state / 1e6:>9,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
