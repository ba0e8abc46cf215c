"""The main job, end to end: raw clicks → sessions → training by day → a real Triton.

    make demo                     a synthetic log whose best possible score is known
    make demo CLICKS=clicks.csv   your own log

The three steps are the three scripts beside this one; this one puts them in a
row, adds the synthetic log's ceiling, and writes a report.
"""

import argparse
import re
import shutil
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from etl import make_sessions
from report import write_report
from serve import serve_and_ask
from train import train

import keras_t4r as t4r
from keras_t4r.training.evaluate import evaluate_scorer

METRICS = {"ndcg_20": "NDCG@20", "recall_20": "Recall@20", "mrr_20": "MRR@20"}
# Column names that click logs have, in lower case without underscores.
NAMES = {
    "session": ("sessionid",),
    "time": ("timestamp", "time", "clicktimestamp", "eventtime", "datetime"),
    "item": ("itemid", "clickarticleid", "articleid", "productid"),
    "categorical": ("category", "categoryid"),
}
UNITS = {"s": 1e11, "ms": 1e14, "us": 1e17, "ns": 1e20}


def say(text):
    print(f"\n== {text}", file=sys.stderr, flush=True)


def synthetic_log(folder):
    """A log in YOOCHOOSE's raw format, and what made it."""
    source = t4r.SyntheticClicks()
    path = folder / "clicks.csv"
    source.write(path)
    columns = {
        "session": "session_id",
        "time": "timestamp",
        "item": "item_id",
        "categorical": ["category"],
    }
    return t4r.ClickLog(path, columns=source.columns), columns, source


def find_columns(log, arguments):
    """Which column is which: as told, else by the names that logs have."""
    names = log.names()
    columns = {}
    for role, known in NAMES.items():
        told = getattr(arguments, role, None)
        found = [n for n in names if n.lower().replace("_", "") in known]
        if told or found:
            columns[role] = told or found[0]
        elif role != "categorical":
            sys.exit(
                f"No column of {arguments.clicks} looks like the {role}; its columns "
                f"are {names}. Name it: make demo CLICKS=… DEMO_ARGS='--{role} NAME'."
            )
    category = columns.get("categorical")
    columns["categorical"] = [category] if category else []
    columns["time_unit"] = arguments.time_unit or guess_unit(log, columns)
    print(f"Columns: {columns}", file=sys.stderr)
    return columns


def guess_unit(log, columns):
    """Numbers of the size of today's epoch in s, ms, us or ns; `None` for text."""
    first = read_log(log, columns)[columns["time"]][0]
    if not isinstance(first, int | float):
        return None
    return next(u for u, size in UNITS.items() if first < size)


def read_log(log, columns):
    """The log's own rows, for the requests at the end."""
    ids = [columns["session"], columns["item"], *columns["categorical"]]
    kinds = log.text_kinds(ids, columns["time"])
    return log.scan([*ids, columns["time"]], kinds).collect()


def whole_windows(sessions, share=0.05):
    """The log's windows in time, without the fragments that it ends in."""
    numbered = [p.name for p in sessions.iterdir() if re.fullmatch("[0-9]+", p.name)]
    windows = sorted(numbered, key=int)
    sizes = [
        pq.read_metadata(sessions / w / "sessions.parquet").num_rows for w in windows
    ]
    whole = max(i for i, size in enumerate(sizes) if size >= share * max(sizes)) + 1
    if windows[whole:]:
        print(
            f"The log ends in fragments of windows, which are left out: "
            f"{sum(sizes[whole:])} sessions after window {windows[whole - 1]}.",
            file=sys.stderr,
        )
    return windows[:whole]


def add_ceiling(report, source, etl, folder):
    """Adds the score of whoever knows how the log was made."""
    schema = t4r.Schema.load(folder / "schema.pbtxt")
    for window in report.windows:
        oracle = source.oracle(etl.vocabulary("item_id").values, int(window))
        loader = t4r.KerasSequenceLoader(
            folder / window / "sessions.parquet", schema, 512, target="last"
        )
        metrics = [t4r.metrics.NDCG(20), t4r.metrics.Recall(20), t4r.metrics.MRR(20)]
        report.add(window, "ceiling", evaluate_scorer(oracle, loader, metrics))


def sample_requests(log, columns, count=3):
    """The first clicks of the log's last sessions, as a shop would send them."""
    session = columns["session"]
    rows = read_log(log, columns)
    requests = []
    for key in rows[session].unique(maintain_order=True).tail(200):
        clicks = rows.filter(pl.col(session) == key).head(4)
        if clicks.height >= 2:
            requests.append(clicks.to_dicts())
        if len(requests) == count:
            break
    return requests


def print_report(report):
    for window in report.windows:
        print(f"\nwindow {window:>6}" + "".join(f"{m:>12}" for m in METRICS.values()))
        print_rows([r for r in report.rows if r["window"] == window])
    print(f"\n{'average':>13}" + "".join(f"{m:>12}" for m in METRICS.values()))
    print_rows([{"model": m, **v} for m, v in report.average().items()])


def print_rows(rows):
    for row in rows:
        cells = "".join(f"{row[m]:>12.4f}" for m in METRICS)
        print(f"  {row['model']:<18}"[:20].ljust(13) + cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", help="a log, a folder or a glob of logs")
    parser.add_argument("--folder", default="demo", help="where everything goes")
    parser.add_argument("--window", default="1d", help="length of a window, 1d or 1h")
    parser.add_argument("--windows", type=int, help="only the first so many windows")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--replay", type=int, default=10)
    parser.add_argument(
        "--forward",
        action="store_true",
        help="sessions have a direction: see make_model in train.py",
    )
    parser.add_argument("--time-unit", choices=["s", "ms", "us", "ns"])
    for role in NAMES:
        parser.add_argument(f"--{role}", help=f"name of the {role} column")
    arguments = parser.parse_args()
    started = time.perf_counter()
    folder = Path(arguments.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sessions = folder / "sessions"

    say("1. Raw clicks → sessions")
    if arguments.clicks:
        log, source = t4r.ClickLog(arguments.clicks), None
        columns = find_columns(log, arguments)
    else:
        log, columns, source = synthetic_log(folder)
    etl = make_sessions(log, sessions, columns, window=arguments.window)

    say("2. Training on each window, evaluating on the next")
    model, report = train(
        sessions,
        epochs=arguments.epochs,
        replay=arguments.replay,
        # The synthetic log's sessions are made from one item to the next.
        forward=arguments.forward or source is not None,
        windows=whole_windows(sessions)[: arguments.windows],
        checkpoint=folder / "checkpoint",
    )
    if source is not None:
        add_ceiling(report, source, etl, sessions)
    print_report(report)
    model.save(folder / "model.keras")
    report.save(folder / "report.json")

    say("3. Serving with Triton")
    answers = []
    item = etl.config.item
    for rows, answer, milliseconds in serve_and_ask(
        model, etl, folder / "models", sample_requests(log, columns)
    ):
        clicked = [row[item] for row in rows]
        items = answer[0][item][:5]
        print(f"clicked {clicked} → next {items}  ({milliseconds:.1f} ms)")
        answers.append((clicked, answer[0], milliseconds))
    write_report(folder / "report.html", report, answers, METRICS, item)
    print(f"\nReport: {folder / 'report.html'}")
    print(f"All of it took {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
