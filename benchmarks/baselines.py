"""Scores every baseline on the next window, the last item of each session held out.

    python benchmarks/baselines.py --tutorial FOLDER    # {day}/{train,valid}.parquet
    python benchmarks/baselines.py --folder SESSIONS    # as SessionETL.write leaves it

Windows 1..i are learned, i + 1 is evaluated, over the whole catalogue, ties counted
against the baseline. The table holds averages over the evaluated windows.
"""

import argparse
import os
import time

import numpy as np
import pyarrow.parquet as pq

from keras_t4r.schema import Schema
from keras_t4r.training.baselines import Markov, standard_baselines

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


def windows_of(folder):
    """Files to learn from and to evaluate on: a window, and the one after it."""
    windows = sorted(int(name) for name in os.listdir(folder) if name.isdigit())

    def find(window, part):
        path = os.path.join(folder, str(window), f"{part}.parquet")
        whole = os.path.join(folder, str(window), "sessions.parquet")
        return whole if os.path.exists(whole) else path

    return (
        [find(window, "train") for window in windows[:-1]],
        [find(window, "valid") for window in windows[1:]],
    )


def compare(baselines, learn, test, smallest=1):
    """Yields `(label, metrics, learning seconds, evaluation seconds)`."""
    column = next(iter(baselines.values())).item_column
    sizes = [len(held_out(path, column)[1]) for path in test]
    for label, baseline in baselines.items():
        rows, seconds = [], [0.0, 0.0]
        for window, path, size in zip(learn, test, sizes, strict=True):
            begin = time.perf_counter()
            baseline.update(window)
            seconds[0] += time.perf_counter() - begin
            if size < smallest:
                continue
            begin = time.perf_counter()
            rows.append(evaluate(baseline, path))
            seconds[1] += time.perf_counter() - begin
        if not rows:
            raise SystemExit(f"No window has {smallest} sessions to evaluate.")
        yield label, np.mean(rows, axis=0), *seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tutorial", help="the tutorial's preproc_sessions_by_day")
    source.add_argument("--folder", help="a folder that SessionETL.write has filled")
    parser.add_argument(
        "--half-life", type=float, default=4.0, help="in windows; 0 forgets nothing"
    )
    parser.add_argument(
        "--smallest", type=int, default=100, help="skip windows with fewer sessions"
    )
    parser.add_argument(
        "--exclude-seen", action="store_true", help="leave the session's items out"
    )
    args = parser.parse_args()
    if args.tutorial:
        common = dict(TUTORIAL)
    else:
        schema = Schema.load(os.path.join(args.folder, "schema.pbtxt"))
        common = {"schema": schema}
    learn, test = windows_of(args.tutorial or args.folder)
    common["exclude_seen"] = args.exclude_seen
    count = Markov(  # The count that the tutorial's network is measured against.
        fading=1.0, normalize=0.0, own_items=1.5, **common
    )
    baselines = {
        "plain count, 4 last items": count,
        **standard_baselines(half_life=args.half_life or None, **common),
    }
    print(f"{'':26}NDCG@20 Recall@20  MRR@20   learn s  evaluate s")
    for label, metrics, learned, evaluated in compare(
        baselines, learn, test, args.smallest
    ):
        print(
            f"{label:26}{metrics[0]:7.4f}{metrics[1]:10.4f}{metrics[2]:8.4f}"
            f"{learned:10.2f}{evaluated:12.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
