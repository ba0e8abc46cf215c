"""Every loss with the same body and budget: accuracy, time and memory.

    python benchmarks/losses.py s3rec/Beauty.txt.gz
    python benchmarks/losses.py ml-100k/ml-100k.inter.gz --epochs 60

A file has a line a user, `user item item …`, oldest first, or is RecBole's `.inter`, a
line an event with its time. The last item of each user is the test, the one before it
is what the learning rate is chosen on; both are left out of training. SASRec's block,
two layers; the rate warms up over a twentieth of the steps and falls to zero as a
cosine. Items that a user has seen are left out of the answers, as the papers have it.

Each row is a process of its own. Time is that of a step without input pipeline, memory
what the process holds at most above what it held before the model was made.
"""

import argparse
import csv
import gzip
import json
import math
import subprocess
import sys
import time
from pathlib import Path

RATES = (1e-3, 3e-3)
LENGTH, WIDTH, BATCH, NEGATIVES = 50, 64, 128, 256


def read(path):
    """The items of each user, oldest first, by ids from 2 on, most frequent first."""
    import numpy as np

    open_file = gzip.open if path.endswith(".gz") else open
    with open_file(path, "rt") as lines:
        if ".inter" in path:
            rows = csv.DictReader(lines, delimiter="\t")
            events = [[int(float(row[c])) for c in _columns(row)] for row in rows]
            users = {}
            for user, item, _ in sorted(events, key=lambda event: event[2]):
                users.setdefault(user, []).append(item)
            users = list(users.values())
        else:
            users = [[int(word) for word in line.split()[1:]] for line in lines]
    raw, counts = np.unique(np.concatenate(users), return_counts=True)
    rank = np.empty(len(raw), "int32")
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(raw))
    users = [rank[np.searchsorted(raw, user)] + 2 for user in users]
    return [user for user in users if len(user) > 3], np.sort(counts)[::-1]


def _columns(row):
    return [next(c for c in row if c.startswith(n)) for n in ("user", "item", "time")]


def losses(counts):
    """Dict of name to what makes the loss."""
    import numpy as np

    from keras_t4r import losses as of
    from keras_t4r.losses import samplers

    # By id: 0 is padding, 1 unknown.
    counts = np.concatenate([[0, 0], counts])

    def popular(alpha=0.75):
        return samplers.PopularitySampler(counts, alpha, NEGATIVES)

    return {
        "FullSoftmax()": of.FullSoftmax,
        "FullSoftmax(label_smoothing=0.1)": lambda: of.FullSoftmax(0.1),
        "SampledSoftmax(256)": lambda: of.SampledSoftmax(NEGATIVES),
        "SampledSoftmax, each target": lambda: of.SampledSoftmax(
            samplers.UniformSampler(NEGATIVES, per_target=True)
        ),
        "SampledSoftmax, log-uniform": lambda: of.SampledSoftmax(
            samplers.LogUniformSampler(NEGATIVES)
        ),
        "SampledSoftmax, popularity": lambda: of.SampledSoftmax(popular()),
        "SampledSoftmax, in batch": lambda: of.SampledSoftmax(
            samplers.InBatchSampler(counts)
        ),
        "SampledSoftmax, mixed": lambda: of.SampledSoftmax(
            samplers.MixedSampler(
                [samplers.InBatchSampler(counts), samplers.UniformSampler(NEGATIVES)]
            )
        ),
        "SampledSoftmax, hardest": lambda: of.SampledSoftmax(
            4 * NEGATIVES, hardest=NEGATIVES // 2
        ),
        "ScalableCrossEntropy": lambda: of.ScalableCrossEntropy(32, 64, NEGATIVES),
        "BinaryCrossEntropy()": of.BinaryCrossEntropy,
        "GeneralizedBinaryCrossEntropy, each": lambda: of.GeneralizedBinaryCrossEntropy(
            samplers.UniformSampler(NEGATIVES, per_target=True)
        ),
        "BPRMax": lambda: of.BPRMax(NEGATIVES),
        "TOP1Max": lambda: of.TOP1Max(NEGATIVES),
    }


def held(field):
    """Bytes of the process: `VmRSS` now, `VmHWM` at most."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(field)
    )
    return int(line.split()[1]) * 1024


def measure(path, name, rate, epochs, seed, steps):
    """One row: validation and test NDCG@10 and Recall@10, time and memory of a step."""
    import keras
    import pyarrow as pa

    import keras_t4r as t4r

    keras.utils.set_random_seed(seed)
    users, counts = read(path)
    column = t4r.ColumnSchema(
        "item_id",
        tags=("item_id", "categorical"),
        domain=t4r.Domain(2, len(counts) + 1, "item"),
        value_count=(1, LENGTH + 1),
    )
    schema = t4r.Schema((column,))

    def loader(parts, batch, **arguments):
        items = pa.array([part.tolist() for part in parts], pa.list_(pa.int32()))
        table = pa.table({"item_id": items})
        return t4r.KerasSequenceLoader(
            table, schema, batch, max_length=LENGTH, seed=seed, **arguments
        )

    train = loader([user[:-2] for user in users], BATCH)
    total = max(1, epochs * len(train))
    warmup = total // 20
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, total - warmup, warmup_target=rate, warmup_steps=warmup
    )
    before = held("VmRSS")
    inputs = schema.inputs()
    items = inputs["item_id"]
    x, table = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=WIDTH)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, items)
    config = t4r.session_config(
        "sasrec", WIDTH, n_layer=2, max_length=LENGTH, dropout=0.2
    )
    x = t4r.TransformerBlock(config)(x)
    head = t4r.NextItemHead(loss=losses(counts)[name]())
    scores = t4r.NoRepeat("session")(head(x, targets, table), items)
    model = t4r.SessionModel(inputs, scores)
    metrics = [t4r.metrics.NDCG(10), t4r.metrics.Recall(10)]
    model.compile(keras.optimizers.Adam(schedule), metrics=metrics)
    found = {}
    if steps:
        batches = [train[i] for i in range(min(8, len(train)))]
        for batch in batches:
            model.train_on_batch(*_xy(batch))
        start = time.perf_counter()
        for step in range(steps):
            model.train_on_batch(*_xy(batches[step % len(batches)]))
        found["ms"] = (time.perf_counter() - start) / steps * 1e3
        found["MB"] = (held("VmHWM") - before) / 1e6
    if epochs:
        model.fit(train, epochs=epochs, verbose=0)
        for part, end in (("valid", -1), ("test", None)):
            data = loader([user[:end] for user in users], 512, target="last")
            logs = model.evaluate(data, verbose=0, return_dict=True)
            found[part] = [logs["ndcg_10"], logs["recall_10"]]
    return found


def _xy(batch):
    return batch if isinstance(batch, tuple) else (batch,)


def child(args, name, rate, epochs, steps):
    command = [sys.executable, __file__, args.file, "--seed", str(args.seed)]
    command += ["--one", json.dumps([name, rate, epochs, steps])]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--epochs", type=int, default=20, help="or 0: time only")
    parser.add_argument("--steps", type=int, default=40, help="for the time; or 0")
    parser.add_argument("--losses", nargs="+", default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        name, rate, epochs, steps = json.loads(args.one)
        print(json.dumps(measure(args.file, name, rate, epochs, args.seed, steps)))
        return
    users, counts = read(args.file)
    print(f"{len(users)} users, {len(counts)} items, {args.epochs} epochs")
    print(f"{'':34} {'rate':>6} {'NDCG@10':>8} {'Recall@10':>9} {'ms':>6} {'MB':>6}")
    for name in args.losses or losses(counts):
        step = child(args, name, 1e-3, 0, args.steps) if args.steps else {}
        rates = RATES if args.epochs else ()
        runs = {rate: child(args, name, rate, args.epochs, 0) for rate in rates}
        # What diverged is below all.
        valid = {rate: run["valid"][0] for rate, run in runs.items()}
        rate = max(
            runs, key=lambda rate: (not math.isnan(valid[rate]), valid[rate]), default=0
        )
        ndcg, recall = runs[rate]["test"] if runs else (math.nan, math.nan)
        took = f"{step['ms']:6.1f} {step['MB']:6.0f}" if step else ""
        print(f"{name:34} {rate:6g} {ndcg:8.4f} {recall:9.4f} {took}", flush=True)


if __name__ == "__main__":
    main()
