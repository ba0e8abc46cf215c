r"""Scores every baseline on the next window, the last item of each session held out.

    python benchmarks/baselines.py SESSIONS      # as SessionETL.write leaves it
    python benchmarks/baselines.py t4rec_yoochoose/preproc_sessions_by_day \
        --schema t4rec_yoochoose/schema_demo.pb --train train --evaluate valid

Windows 1..i are learned, i + 1 is evaluated, over the whole catalogue, ties counted
against the baseline. The table holds averages over the evaluated windows.
"""

import argparse
import re
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

import keras_t4r as t4r
from keras_t4r.training import evaluate_scorer
from keras_t4r.training.baselines import Markov, standard_baselines


def compare(baselines, pairs, schema, smallest):
    """Yields `(label, metrics, learning seconds, evaluation seconds)`."""
    metrics = [t4r.metrics.NDCG(20), t4r.metrics.Recall(20), t4r.metrics.MRR(20)]
    # What a model of sessions of 20 events reads: the one that comes next is one more.
    tests = [
        t4r.KerasSequenceLoader(test, schema, 512, target="last", max_length=19)
        for _, test in pairs
    ]
    for label, baseline in baselines.items():
        rows, learning, evaluating = [], 0.0, 0.0
        for (train, _), test in zip(pairs, tests, strict=True):
            begin = time.perf_counter()
            baseline.update(train)
            learning += time.perf_counter() - begin
            if test.num_sessions < smallest:
                continue
            begin = time.perf_counter()
            rows.append(list(evaluate_scorer(baseline, test, metrics).values()))
            evaluating += time.perf_counter() - begin
        if not rows:
            raise SystemExit(f"No window has {smallest} sessions to evaluate.")
        yield label, np.mean(rows, axis=0), learning, evaluating


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schema", help="by default schema.pbtxt in the folder")
    parser.add_argument("--train", default="sessions")
    parser.add_argument("--evaluate", default="sessions")
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
    schema = t4r.Schema.load(args.schema or args.folder / "schema.pbtxt")
    schema = schema.select([schema.item_id])
    numbered = (p for p in args.folder.iterdir() if re.fullmatch("[0-9]+", p.name))
    windows = sorted(numbered, key=lambda path: int(path.name))
    pairs = [
        (now / f"{args.train}.parquet", after / f"{args.evaluate}.parquet")
        for now, after in pairwise(windows)
    ]
    baselines = {
        # The count that the tutorial's network is measured against.
        "plain count": Markov(
            schema,
            fading=1.0,
            normalize=0.0,
            own_items=1.5,
            exclude_seen=args.exclude_seen,
        ),
        **standard_baselines(
            schema, half_life=args.half_life or None, exclude_seen=args.exclude_seen
        ),
    }
    print(f"{'':20}NDCG@20 Recall@20  MRR@20   learn s  evaluate s")
    for label, metrics, learning, evaluating in compare(
        baselines, pairs, schema, args.smallest
    ):
        print(
            f"{label:20}{metrics[0]:7.4f}{metrics[1]:10.4f}{metrics[2]:8.4f}"
            f"{learning:10.2f}{evaluating:12.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
