"""SessionETL against the same steps, written plainly, on real clicks."""

import csv
import gzip
import math
import statistics
from collections import Counter
from datetime import datetime, timezone

import numpy as np
import polars as pl
import pytest

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL

COLUMNS = ["session_id", "timestamp", "item_id", "category"]
DAY = 86_400


def read(path):
    with gzip.open(path, "rt") as lines:
        return [
            (int(s), datetime.fromisoformat(t.replace("Z", "+00:00")), int(i), c)
            for s, t, i, c in csv.reader(lines)
        ]


def plain_etl(rows, max_length):
    """The tutorial's steps, one loop each; returns {session: columns}."""
    sessions = {}
    for session, time, item, category in sorted(rows, key=lambda row: row[:2]):
        clicks = sessions.setdefault(session, [])
        if not clicks or clicks[-1][1] != item:
            clicks.append((time, item, category))
    clicks = [click for session in sessions.values() for click in session]
    first_time = {}
    for time, item, _ in clicks:
        first_time[item] = min(time, first_time.get(item, time))

    def ids(values):
        ranked = sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
        return {value: rank + 2 for rank, (value, _) in enumerate(ranked)}

    item_ids = ids(item for _, item, _ in clicks)
    category_ids = ids(category for _, _, category in clicks)

    def log_age(time, item):
        return math.log1p((time - first_time[item]).total_seconds() / DAY)

    ages = [log_age(time, item) for time, item, _ in clicks]
    mean, deviation = statistics.fmean(ages), statistics.stdev(ages)
    first_day = min(time for time, _, _ in clicks).date()
    out = {}
    for session, clicks in sessions.items():
        newest = clicks[-max_length:]
        start = clicks[0][0]
        out[session] = {
            "item_id": [item_ids[item] for _, item, _ in newest],
            "category": [category_ids[category] for _, _, category in newest],
            "dayofweek_sin": [
                math.sin(2 * math.pi * time.weekday() / 7) for time, _, _ in newest
            ],
            "recency_log_norm": [
                (log_age(time, item) - mean) / deviation for time, item, _ in newest
            ],
            "window": (start.date() - first_day).days + 1,
            "length": len(clicks),
            "start": start.astimezone(timezone.utc).replace(tzinfo=None),
        }
    return out


@pytest.mark.parametrize(
    "name", ["yoochoose-clicks_nodesense.csv.gz", "sample_yoochoose.dat.gz"]
)
@pytest.mark.parametrize("max_length", [20, 3])
def test_sessions_equal_the_plain_steps(shared_data, tmp_path, name, max_length):
    path = shared_data / "raw_samples" / name
    expected = plain_etl(read(path), max_length)
    etl = SessionETL(
        "session_id", "timestamp", "item_id", ["category"], max_length=max_length
    )
    log = ClickLog(path, columns=COLUMNS)
    sizes = etl.write(log, tmp_path / "sessions", progress=False)

    written = {s: e for s, e in expected.items() if e["length"] >= 2}
    assert sizes == Counter(e["window"] for e in written.values())
    for window in sizes:
        file = tmp_path / "sessions" / str(window) / "sessions.parquet"
        for row in pl.read_parquet(file).to_dicts():
            want = written.pop(row.pop("session_id"))
            assert want["window"] == window
            for column in ("dayofweek_sin", "recency_log_norm"):
                np.testing.assert_allclose(
                    row.pop(column), want.pop(column), rtol=1e-5, atol=1e-6
                )
            assert row == want
    assert not written

    table = etl.transform(log)
    assert table["session_id"].to_pylist() == list(
        dict.fromkeys(session for session, *_ in read(path))
    )
    assert table["item_id"].to_pylist() == [
        expected[session]["item_id"] for session in table["session_id"].to_pylist()
    ]
