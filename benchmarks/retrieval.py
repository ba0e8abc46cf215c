"""Searching millions of items: the exact index beside the inverted file.

    python benchmarks/retrieval.py [--items 1000000x64 10000000x32] [--queries 500]

For each catalogue: how many of the 20 best of all items an index finds (recall@20),
p50 and p99 of one query at a time on one thread, the time to build it (on all cores, or
on --threads), and the memory of building it at its peak, mapped vectors included; what
it holds when it was read by another process; the time to write and to read it. Every
line is measured in processes of their own, one after the other; the inverted file at
several numbers of lists that a query reads. The limit is one pass over the vectors,
which an exact search needs: their product with themselves, on one thread.

Vectors: clusters of Zipf's sizes, Gaussian with a falling spectrum within and between;
popularity, by Zipf's law, makes a vector longer and its bias larger; queries are
mixtures of two items that were drawn by popularity.
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
os.environ.setdefault("PYTHONWARNINGS", "ignore")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np

K, SEED = 20, 0
PROBES = (16, 32, 64, 128, 256)
CHUNK = 1 << 18
DIGITS = (3, 2, 2, 1, 0, 0, 1, 1)


def write_items(folder, items, dim, queries):
    """Vectors and queries as `.npy`; the last number of a vector is its bias."""
    random, width = np.random.default_rng(SEED), dim - 1
    spectrum = np.arange(1, width + 1, dtype="float32") ** -0.5
    spectrum /= np.linalg.norm(spectrum)

    def drawn(rows):
        return random.standard_normal((rows, width), dtype="float32") * spectrum

    centres = drawn(int(2 * items**0.5))
    size = np.arange(1, len(centres) + 1) ** -0.7
    cluster = random.choice(len(centres), items, p=size / size.sum())
    popularity = -np.log(random.permutation(items) + 10.0)
    chance = np.exp(popularity) / np.exp(popularity).sum()
    popularity = (popularity - popularity.mean()).astype("float32")
    vectors = np.lib.format.open_memmap(
        folder / "vectors.npy", "w+", "float32", (items, dim)
    )
    for at in range(0, items, CHUNK):
        part = slice(at, at + CHUNK)
        own = centres[cluster[part]] + np.float32(0.7) * drawn(len(cluster[part]))
        longer = 1 + np.float32(0.1) * np.clip(popularity[part], -1, 5)
        vectors[part, :width] = own * longer[:, None]
        vectors[part, width] = np.float32(0.6) * popularity[part]
    vectors.flush()
    first, second = (
        vectors[random.choice(items, queries, p=chance), :width] for _ in range(2)
    )
    asked = 6 * (0.7 * first + 0.3 * second + 0.3 * drawn(queries))
    ones = np.ones((queries, 1))
    np.save(folder / "queries.npy", np.concatenate([asked, ones], 1).astype("float32"))


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    shared = int(Path("/proc/self/statm").read_text().split()[2])
    # Pages of the mapped file are not the index's.
    return (pages - shared) * os.sysconf("SC_PAGE_SIZE") / 2**20


def timed(work):
    begin = time.perf_counter()
    return work(), time.perf_counter() - begin


def one_at_a_time(search, queries):
    for query in queries[:10]:
        search(query[None])
    found = [timed(lambda q=query: search(q[None])) for query in queries]
    ms = 1000 * np.array([seconds for _, seconds in found])
    ids = np.concatenate([ids for (ids, _), _ in found])
    return ids, {"p50": np.percentile(ms, 50), "p99": np.percentile(ms, 99)}


def limit(folder):
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    parts = [np.ravel(vectors[a : a + CHUNK]) for a in range(0, 1 << 20, CHUNK)]
    parts = [np.array(part) for part in parts if len(part)]
    seconds = min(timed(lambda: [np.dot(x, x) for x in parts])[1] for _ in range(5))
    share = sum(map(len, parts)) / vectors.size
    return [{"kind": "limit: one pass", "p50": 1000 * seconds / share}]


def build(kind, folder):
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    before, index = resident(), new_index(kind)
    ids = np.arange(2, len(vectors) + 2)
    _, seconds = timed(lambda: index.build(ids, vectors))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before
    saving = timed(lambda: index.save(folder / kind))[1]
    return {"build": seconds, "peak": peak, "save": saving}


def ask(kind, folder):
    from keras_t4r.retrieval import load_index

    queries, before = np.load(folder / "queries.npy"), resident()
    index, loading = timed(lambda: load_index(folder / kind))
    row = {"kind": kind, "load": loading, "memory": resident() - before}
    if kind == "ExactIndex":
        found, times = one_at_a_time(lambda q: index.search(q, K), queries)
        np.save(folder / "best.npy", found)
        return [{**row, **times, "recall": 1.0}]
    rows, best = [], np.load(folder / "best.npy")
    for probes in PROBES:
        index.probes = probes
        found, times = one_at_a_time(lambda q: index.search(q, K), queries)
        hits = [len(np.intersect1d(a, b)) for a, b in zip(found, best, strict=True)]
        recall = np.mean(hits) / K
        rows.append({**row, **times, "recall": recall, "kind": f"{kind} {probes}"})
    return rows


def new_index(kind):
    from keras_t4r import retrieval

    return getattr(retrieval, kind)()


def run(folder, threads, *what):
    """What a process of its own measures."""
    arguments = [sys.executable, __file__, "--child", str(folder), *what]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **{name: str(threads) for name in names}}
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{what} ended with code {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])


def measured(folder, threads):
    yield from run(folder, 1, "limit")
    for kind in ("ExactIndex", "IVFIndex"):
        built = run(folder, threads, "build", kind)
        for row in run(folder, 1, "ask", kind):
            yield {**built, **row}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", nargs="+", default=["1000000x64", "10000000x32"])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="to build")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, what, *kind = options.child
        work = {"limit": limit, "build": build, "ask": ask}[what]
        print(json.dumps(work(*kind, Path(folder)), default=float))
        return
    columns = "recall p50 p99 build peak memory save load".split()
    units = "@20 ms ms s MiB MiB s s".split()
    print(f"{'items':34}" + "".join(f"{name:>9}" for name in columns))
    print(f"{'':34}" + "".join(f"{unit:>9}" for unit in units))
    for size in options.items:
        items, dim = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            write_items(Path(folder), items, dim, options.queries)
            for row in measured(folder, options.threads):
                line = f"{f'{items:,} x {dim}  ' + row['kind']:34}"
                for column, digits in zip(columns, DIGITS, strict=True):
                    value = row.get(column)
                    line += " " * 9 if value is None else f"{value:9.{digits}f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
