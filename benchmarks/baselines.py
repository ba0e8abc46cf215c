"""Scores every baseline on the next window, the last item of each session held out.

    python benchmarks/baselines.py --tutorial FOLDER    # {day}/{train,valid}.parquet
    python benchmarks/baselines.py --folder SESSIONS    # as SessionETL.write leaves it

Windows 1..i are learned, i + 1 is evaluated, over the whole catalogue, ties counted
against the baseline. The table holds averages over the evaluated windows.
"""

import argparse
import os
import sys
import time

import numpy as np
import pyarrow.parquet as pq

from keras_t4r.training.baselines import (
    STAN,
    Markov,
    Popularity,
    SessionPopularity,
    VSkNN,
)

TUTORIAL = {"item_column": "item_id-list_seq", "cardinality": 52743, "first_id": 1}


def held_out(path, column, limit=20):
    """Sessions without their last item, padded, and those items."""
    table = pq.read_table(path, columns=[column])
    lists = table[column].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))
    lengths = np.diff(ends, prepend=0)
    ends, lengths = ends[lengths > 1], np.minimum(lengths[lengths > 1] - 1, limit)
    ids = np.zeros((len(ends), lengths.max(initial=1)), np.int64)
    filled = np.arange(ids.shape[1]) < lengths[:, None]
    ids[filled] = values[
        ((ends - 1 - lengths)[:, None] + np.arange(ids.shape[1]))[filled]
    ]
    return ids, values[ends - 1]


def evaluate(baseline, path, k=20, batch=512):
    """NDCG, recall and MRR at `k`; the rank counts ties against the baseline."""
    ids, targets = held_out(path, baseline.item_column)
    keep = targets >= baseline.first_id
    ids, targets = ids[keep], targets[keep]
    ranks = []
    for begin in range(0, len(ids), batch):
        scores = baseline.predict(ids[begin : begin + batch])
        target = targets[begin : begin + batch]
        reached = scores[np.arange(len(target)), target]
        ranks.append((scores >= reached[:, None]).sum(axis=1))
    ranks = np.concatenate(ranks)
    hit = ranks <= k
    return np.array(
        [(hit / np.log2(ranks + 1)).mean(), hit.mean(), (hit / ranks).mean()]
    )


def windows_of_tutorial(folder):
    days = sorted(int(day) for day in os.listdir(folder) if day.isdigit())
    train = [os.path.join(folder, str(day), "train.parquet") for day in days[:-1]]
    valid = [os.path.join(folder, str(day), "valid.parquet") for day in days[1:]]
    return train, valid


def windows_of_folder(folder):
    windows = sorted(int(name) for name in os.listdir(folder) if name.isdigit())
    paths = [os.path.join(folder, str(window)) for window in windows]
    return paths[:-1], paths[1:]


def compare(baselines, learn, test, smallest):
    """Yields `(label, metrics, learning seconds, evaluation seconds)`."""
    sizes = [pq.ParquetDataset(path).read(columns=[]).num_rows for path in test]
    for label, make in baselines.items():
        baseline, rows, seconds = make(), [], [0.0, 0.0]
        for window, path, size in zip(learn, test, sizes, strict=True):
            begin = time.perf_counter()
            baseline.update(window)
            seconds[0] += time.perf_counter() - begin
            if size < smallest:
                continue
            begin = time.perf_counter()
            rows.append(evaluate(baseline, path))
            seconds[1] += time.perf_counter() - begin
        yield label, np.mean(rows, axis=0), *seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tutorial", help="the tutorial's preproc_sessions_by_day")
    source.add_argument("--folder", help="a folder that SessionETL.write has filled")
    parser.add_argument("--half-life", type=float, default=None, help="in windows")
    parser.add_argument("--smallest", type=int, default=1, help="sessions of a window")
    args = parser.parse_args()
    if args.tutorial:
        common, (learn, test) = TUTORIAL, windows_of_tutorial(args.tutorial)
    else:
        from keras_t4r.schema import Schema

        schema = Schema.load(os.path.join(args.folder, "schema.pbtxt"))
        common, (learn, test) = {"schema": schema}, windows_of_folder(args.folder)
    common = {**common, "half_life": args.half_life}
    baselines = {
        "Popularity": lambda: Popularity(**common),
        "SessionPopularity": lambda: SessionPopularity(**common),
        "Markov (chain)": lambda: Markov(
            history=1, bidirectional=False, own_items=0, **common
        ),
        "Markov": lambda: Markov(**common),
        "VSkNN": lambda: VSkNN(**common),
        "STAN": lambda: STAN(**common),
    }
    print(f"{'':24}NDCG@20 Recall@20  MRR@20   learn s  evaluate s")
    for label, metrics, learned, evaluated in compare(
        baselines, learn, test, args.smallest
    ):
        print(
            f"{label:24}{metrics[0]:7.4f}{metrics[1]:10.4f}{metrics[2]:8.4f}"
            f"{learned:10.2f}{evaluated:12.2f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
