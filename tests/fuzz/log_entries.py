"""Logs of clicks, read once more without the package's own code."""

import csv
import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from damage import damaged
from fuzzed_log import clicks, make_etl


def as_text(columns, rng):
    rows = zip(*columns.values(), strict=True)
    out = io.StringIO()
    quoting = csv.QUOTE_NONNUMERIC if rng.integers(2) else csv.QUOTE_MINIMAL
    writer = csv.writer(out, quoting=quoting, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode()


def plainly_read(data):
    """Items by session as the docstring of `ClickLog` reads them, line by line."""
    text = data.decode("utf-8-sig")
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    lines = [line for line in lines if line]
    separator = max("\t,;|", key=lines[0].count)
    rows = [line.split(separator) for line in lines]
    if any('"' in line for line in lines):
        quoted = [next(csv.reader([ln], delimiter=separator)) for ln in lines]
        whole = len(set(map(len, quoted))) == 1 and all(
            _is_whole(line, separator) for line in lines
        )
        rows = quoted if whole else rows
    assert len(set(map(len, rows))) == 1
    names, *rows = rows
    rows = [dict(zip(names, row, strict=True)) for row in rows]
    found = {}
    for row in sorted(rows, key=lambda row: float(row["t"])):
        found.setdefault(row["s"], []).append(row["i"])
    return found


def _is_whole(line, separator):
    """Whether quotes of a line open and close fields, and nothing else."""
    position = 0
    while position <= len(line):
        if line[position : position + 1] == '"':
            end = position + 1
            while True:
                end = line.find('"', end)
                if end < 0:
                    return False
                if line[end + 1 : end + 2] != '"':
                    break
                end += 2
            position = end + 1
            if position < len(line) and line[position] != separator:
                return False
        else:
            end = line.find(separator, position)
            end = len(line) if end < 0 else end
            if '"' in line[position:end]:
                return False
            position = end
        position += 1
    return True


def items_of(sessions, etl):
    """Raw items by raw session, as text."""
    decoded = [etl.decode(np.array(row)) for row in sessions["i"].to_pylist()]
    keys = map(str, sessions["s"].to_pylist())
    return {k: list(map(str, row)) for k, row in zip(keys, decoded, strict=True)}


def same_items(found, expected):
    # Clicks of one time are in the order of the rows, here as there.
    newest = {key: row[-20:] for key, row in expected.items()}
    return found == newest


def text_log(rng, folder):
    data = damaged(as_text(clicks(rng), rng), rng)
    path = folder / "log.csv"
    path.write_bytes(data)

    def run():
        etl = make_etl()
        return items_of(etl.fit_transform(path), etl)

    return run, lambda found: same_items(found, plainly_read(data))


def zipped_log(rng, folder):
    text = as_text(clicks(rng), rng)
    data = damaged(gzip.compress(text), rng)
    path = folder / "log.csv.gz"
    path.write_bytes(data)

    def run():
        etl = make_etl()
        return items_of(etl.fit_transform(path), etl)

    def is_right(found):
        return same_items(found, plainly_read(text))

    return run, is_right


def parquet_log(rng, folder):
    """Foreign parquet carries no checksums: what Arrow reads is taken for right."""
    path = folder / "log.parquet"
    table = pa.table(clicks(rng))
    pq.write_table(table, path)
    path.write_bytes(damaged(path.read_bytes(), rng))

    def run():
        etl = make_etl()
        return items_of(etl.fit_transform(path), etl)

    def is_right(found):
        try:
            read = pq.read_table(path)
        except (OSError, pa.ArrowException):
            read = table
        rows = sorted(
            zip(*(read[n].to_pylist() for n in "tsi"), strict=True),
            key=lambda row: row[0],
        )
        expected = {}
        for _, session, item in rows:
            expected.setdefault(str(session), []).append(str(item))
        return same_items(found, expected)

    return run, is_right
