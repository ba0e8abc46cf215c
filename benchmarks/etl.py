"""What it takes to turn a click log into sessions: SessionETL beside NVTabular.

    python benchmarks/etl.py [--clicks 1000000]

Each engine fits on the log and writes its sessions by day (vocabularies, day of the
week, item recency, the newest 20 clicks of sessions of 2 and more), in a process of
its own, one after the other on one machine. The time is that of the work, without
imports; the memory is the peak of the whole process, and what the imports alone take
stands beside it. The sums show that the sessions are the same. The limit does less
than any ETL has to: it reads the log and sorts it by session and time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "numpy")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

DAY = 86_400
FIELDS = dict(
    session="session_id", time="timestamp", item="item_id", categorical=["category"]
)


def write_clicks(path, clicks, items, seed=0):
    """Sessions of geometric length (mean 5) over 30 days, Zipf(1.05) items."""
    rng = np.random.default_rng(seed)
    lengths = rng.geometric(1 / 5, clicks // 2)
    lengths = lengths[: np.searchsorted(np.cumsum(lengths), clicks)]
    first = np.cumsum(lengths) - lengths
    session = np.repeat(rng.permutation(len(lengths)) + 10_000_000, lengths)
    passed = np.cumsum(rng.integers(1, 300, len(session)))
    start = 1_600_000_000 + rng.integers(0, 30 * DAY, len(lengths)) - passed[first]
    chances = np.arange(1, items + 1, dtype=np.float64) ** -1.05
    item = rng.choice(items, len(session), p=chances / chances.sum())
    columns = {
        "session_id": session,
        "timestamp": np.repeat(start, lengths) + passed,
        "item_id": rng.choice(2**31, items, replace=False)[item],
        "category": rng.integers(1, 301, items)[item],
    }
    order = np.argsort(columns["timestamp"], kind="stable")
    table = pa.table({name: values[order] for name, values in columns.items()})
    pq.write_table(table, path, row_group_size=1_000_000)


def session_etl(path, out):
    from keras_t4r.data.etl.session_etl import SessionETL

    etl = SessionETL(**FIELDS, time_unit="s")
    return lambda: etl.write(path, out, progress=False)


def nvtabular(path, out):
    from keras_t4r.data.nvtabular.workflow import NVTabularWorkflow

    etl = NVTabularWorkflow(**FIELDS, time_unit="s")
    # These are imported on first use.
    import dask.dataframe  # noqa: F401
    import merlin.io  # noqa: F401

    return lambda: etl.write(path, out, progress=False)


def limit(path, out):
    def read_and_sort():
        table = pq.read_table(path)
        keys = [("session_id", "ascending"), ("timestamp", "ascending")]
        table.take(pc.sort_indices(table, keys))

    return read_and_sort


ENGINES = {
    "keras_t4r SessionETL": session_etl,
    "keras_t4r NVTabularWorkflow": nvtabular,
    "limit: pyarrow read and sort": limit,
}


def work(engine, path):
    """One engine, in a process of its own; prints its figures as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "sessions"
        run = ENGINES[engine](path, out)
        imports = peak_memory()
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        figures = {"seconds": seconds, "memory": peak_memory(), "imports": imports}
        if out.exists():
            figures |= check_sums(out)
    print(json.dumps(figures))


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_sums(folder):
    files = sorted(str(path) for path in folder.glob("[0-9]*/*.parquet"))
    table = ds.dataset(files).to_table(columns=["item_id", "category", "window"])
    items = pc.list_flatten(table["item_id"])
    return {
        "sessions": table.num_rows,
        "kept": len(items),
        "sum": sum(
            pc.sum(column.cast(pa.int64())).as_py()
            for column in (items, pc.list_flatten(table["category"]), table["window"])
        ),
    }


def measure(engine, path):
    command = [sys.executable, __file__, "--engine", engine, "--data", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = done.stderr.strip().splitlines()[-1]
    if last.startswith("ImportError: NVTabularWorkflow needs nvtabular"):
        return None
    raise RuntimeError(f"{engine} failed: {last}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        work(arguments.engine, arguments.data)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clicks.parquet"
        write_clicks(path, arguments.clicks, arguments.items)
        results = {engine: measure(engine, path) for engine in ENGINES}
    report(results, arguments.clicks)


def report(results, clicks):
    ours = results["keras_t4r SessionETL"]
    print(f"{clicks:,} clicks, one run each, {len(os.sched_getaffinity(0))} cores")
    titles = ("seconds", "/ ours", "clicks/s", "peak MB", "imports", "sessions", "sum")
    print(f"{'':30}" + "".join(f"{title:>12}" for title in titles))
    for name, result in results.items():
        if result is None:
            print(f"{name:30}  not installed (Python 3.10 and 3.11 only)")
            continue
        cells = (
            f"{result['seconds']:.2f}",
            f"{result['seconds'] / ours['seconds']:.2f}",
            f"{clicks / result['seconds']:,.0f}",
            f"{result['memory']:,.0f}",
            f"{result['imports']:,.0f}",
            f"{result.get('sessions', '-')}",
            f"{result.get('sum', '-')}",
        )
        print(f"{name:30}" + "".join(f"{cell:>12}" for cell in cells))
    sums = {
        tuple(r[k] for k in ("sessions", "kept", "sum"))
        for r in results.values()
        if r and "sum" in r
    }
    if len(sums) > 1:
        raise SystemExit(f"The engines differ: {sums}")


if __name__ == "__main__":
    main()
