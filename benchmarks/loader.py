"""How many sessions a second KerasSequenceLoader turns into padded batches.

    python benchmarks/loader.py [--sessions 200000] [--batch 1024] [--epochs 5]

Four list columns (two of ids, two of numbers), sessions of 2 to 20 events, 6 on
average, shuffled. Every row is timed over whole epochs in one run on one machine,
and the median epoch is shown. merlin-dataloader's lists are padded with
TensorFlow, as its users do; it is left out, in so many words, where it is not
installed. The limits do less than any loader has to: `read_table` decodes the same
columns and makes no batch; `memcpy` copies batches of the same size that exist
already.
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import keras_t4r as t4r
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader

FEATURES = ("item_id", "category", "price", "age")
MAX_LENGTH = 20
ROW_GROUP = 50_000


def write_sessions(path, sessions, items, seed=0):
    """Zipf(1.05) items, geometric lengths of 2..20 with mean 6, four columns."""
    rng = np.random.default_rng(seed)
    lengths = np.arange(2, MAX_LENGTH + 1)
    weights = geometric_weights(lengths, mean=6.0)
    offsets = np.zeros(sessions + 1, np.int32)
    np.cumsum(rng.choice(lengths, sessions, p=weights), out=offsets[1:])
    events = int(offsets[-1])
    chances = np.arange(1, items + 1, dtype=np.float64) ** -1.05
    item = rng.choice(items, events, p=chances / chances.sum()) + 1
    columns = {
        "item_id": item,
        "category": rng.integers(1, 301, items + 1)[item],
        "price": rng.random(events, dtype=np.float32),
        "age": rng.standard_normal(events, dtype=np.float32),
    }
    arrays = {
        name: pa.ListArray.from_arrays(offsets, pa.array(values))
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path, row_group_size=ROW_GROUP)


def geometric_weights(lengths, mean):
    """Shares of a geometric law cut to `lengths`, with the mean asked for."""
    low, high = 1e-4, 0.9
    for _ in range(60):
        middle = (low + high) / 2
        weights = (1 - middle) ** (lengths - lengths[0])
        weights /= weights.sum()
        above = (weights * lengths).sum() > mean
        low, high = (middle, high) if above else (low, middle)
    return weights


def make_schema(items):
    def ids(name, highest, *tags):
        domain = t4r.Domain(1, highest, name)
        tags = (*tags, "categorical")
        return t4r.ColumnSchema(name, "int64", tags, domain, (2, MAX_LENGTH))

    def number(name):
        return t4r.ColumnSchema(name, "float32", (), None, (2, MAX_LENGTH))

    columns = ids("item_id", items, "item_id"), ids("category", 300)
    return t4r.Schema((*columns, number("price"), number("age")))


def keras_loader(path, schema, batch, **arguments):
    """An epoch function over our loader, and what it took to make it."""
    start = time.perf_counter()
    loader = KerasSequenceLoader(path, schema, batch, **arguments)
    opening = time.perf_counter() - start

    def epoch():
        loader.on_epoch_begin()
        rows = sum(len(x["item_id"]) for (x,) in loader)
        loader.on_epoch_end()
        return rows

    return epoch, opening


def merlin_loader(path, batch):
    """As `keras_loader`, over merlin-dataloader with TensorFlow's padding."""
    import merlin.loader.tensorflow as merlin
    import tensorflow as tf
    from merlin.io import Dataset

    start = time.perf_counter()
    dataset = Dataset(path, engine="parquet")
    dataset.schema = dataset.schema.select_by_name(list(FEATURES))
    loader = merlin.Loader(dataset, batch_size=batch, shuffle=True)
    opening = time.perf_counter() - start

    def padded(x, name):
        lists = tf.RaggedTensor.from_row_splits(
            x[f"{name}__values"], x[f"{name}__offsets"], validate=False
        )
        return lists.to_tensor(shape=(None, MAX_LENGTH))

    def epoch():
        rows = 0
        for x, _ in loader:
            batch = {name: padded(x, name) for name in FEATURES}
            rows += int(batch["item_id"].shape[0])
        return rows

    return epoch, opening


def read_limit(path):
    def epoch():
        return pq.read_table(path, columns=list(FEATURES)).num_rows

    return epoch, 0.0


def copy_limit(path, schema, batch):
    """Copies all batches of an epoch, made beforehand."""
    loader = KerasSequenceLoader(path, schema, batch)
    batches = [x for (x,) in loader]

    def epoch():
        for x in batches:
            for array in x.values():
                array.copy()
        return loader.num_sessions

    return epoch, 0.0


def measure(epoch, opening, epochs, sessions):
    times = []
    for _ in range(epochs):
        start = time.perf_counter()
        rows = epoch()
        times.append(time.perf_counter() - start)
        if rows != sessions:
            raise RuntimeError(f"An epoch gave {rows} of {sessions} sessions.")
    return sessions / statistics.median(times), opening + times[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sessions.parquet")
        write_sessions(path, arguments.sessions, arguments.items)
        run(path, arguments)


def run(path, arguments):
    schema, batch = make_schema(arguments.items), arguments.batch
    rows = {
        "keras_t4r, length buckets": lambda: keras_loader(path, schema, batch),
        f"keras_t4r, all {MAX_LENGTH} wide": lambda: keras_loader(
            path, schema, batch, bucket=False
        ),
        "keras_t4r, buffer of 100,000": lambda: keras_loader(
            path, schema, batch, buffer_rows=100_000
        ),
        f"merlin-dataloader, all {MAX_LENGTH} wide": lambda: merlin_loader(path, batch),
        "limit: pyarrow read_table": lambda: read_limit(path),
        "limit: memcpy of the batches": lambda: copy_limit(path, schema, batch),
    }
    results = {}
    for name, make in rows.items():
        try:
            results[name] = measure(*make(), arguments.epochs, arguments.sessions)
        except ImportError:
            results[name] = None
    report(results, arguments)


def report(results, arguments):
    def speed(word):
        return next((r[0] for name, r in results.items() if r and word in name), None)

    merlin, read = speed("merlin"), speed("read_table")
    print(
        f"{arguments.sessions:,} sessions, batch {arguments.batch}, shuffled, "
        f"median of {arguments.epochs} epochs, {len(os.sched_getaffinity(0))} cores"
    )
    print(f"{'':32}{'sessions/s':>12}{'/ merlin':>10}{'/ read':>8}{'first epoch':>14}")
    for name, result in results.items():
        if result is None:
            print(f"{name:32}{'not installed (Python 3.10 and 3.11 only)':>47}")
            continue
        ratio = f"{result[0] / merlin:.1f}" if merlin else "-"
        limit = f"{result[0] / read:.2f}"
        print(f"{name:32}{result[0]:>12,.0f}{ratio:>10}{limit:>8}{result[1]:>12.2f} s")


if __name__ == "__main__":
    main()
