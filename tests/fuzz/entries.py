"""Every way in, with a right answer that is found without the package's own code."""

import csv
import decimal
import gzip
import io
import shutil
from collections import Counter

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from damage import damaged, odd_value

import keras_t4r as t4r
from keras_t4r.training.checkpoint import Checkpoint

SESSIONS, CLICKS = 5, 14


def clicks(rng):
    times = np.sort(rng.integers(1_600_000_000, 1_600_600_000, CLICKS))
    return {
        "s": [f"s{n}" for n in rng.integers(0, SESSIONS, CLICKS)],
        "t": times.tolist(),
        "i": rng.integers(100, 112, CLICKS).tolist(),
        "c": [f"c {n}" for n in rng.integers(0, 3, CLICKS)],
        "x": rng.normal(10, 3, CLICKS).round(3).tolist(),
    }


def make_etl(**options):
    options = {
        "categorical": ["c"],
        "continuous": ["x"],
        "time_unit": "s",
        "recency": False,
        "time_features": (),
        "drop_repeats": False,
        **options,
    }
    return t4r.SessionETL("s", "t", "i", **options)


# Text


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


# Files of the package's own


class Kept:
    """Files that are written once, and damaged in copies."""

    made = None

    @classmethod
    def folder(cls, place):
        if cls.made is None:
            cls.made = place / "kept"
            rng = np.random.default_rng(5)
            cls.etl = make_etl()
            cls.clicks = clicks(rng)
            cls.etl.write(cls.clicks, cls.made / "log", progress=False)
            cls.schema = t4r.Schema.load(cls.made / "log" / "schema.pbtxt")
            cls.model = small_model(cls.schema)
            cls.run = {"seed": 1}
            checkpoint = Checkpoint(cls.made / "checkpoint", cls.run)
            checkpoint.save(cls.model, {"epoch": 1, "held": np.arange(3.0)})
        return cls.made


def small_model(schema):
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, d_output=4, embedding_dim=4)(
        inputs
    )
    x, targets = t4r.CausalLanguageModeling()(x, inputs["i"])
    x = keras.layers.Dense(4)(x)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile("adam", metrics=[t4r.metrics.NDCG(5)])
    return model


def damage_one(folder, rng, pattern="*"):
    files = sorted(p for p in folder.rglob(pattern) if p.is_file())
    path = files[rng.integers(len(files))]
    path.write_bytes(damaged(path.read_bytes(), rng))


def session_files(rng, folder):
    kept = Kept.folder(folder.parent)
    shutil.copytree(kept / "log", folder / "log")
    damage_one(folder / "log" / "1", rng)

    def read(place):
        loader = t4r.KerasSequenceLoader(place / "1", Kept.schema, 4, shuffle=False)
        return [
            {k: v.tolist() for k, v in b[0].items()}
            for b in map(loader.__getitem__, range(len(loader)))
        ]

    return lambda: read(folder / "log"), lambda found: found == read(kept / "log")


def vocabulary_file(rng, folder):
    kept = Kept.folder(folder.parent)
    path = folder / "i.parquet"
    shutil.copy(kept / "log" / "vocabularies" / "i.parquet", path)
    path.write_bytes(damaged(path.read_bytes(), rng))

    def is_right(found):
        whole = Kept.etl.vocabulary("i")
        same = found.values.to_list() == whole.values.to_list()
        return same and found.counts.to_list() == whole.counts.to_list()

    return lambda: t4r.Vocabulary.load(path), is_right


def workflow_folder(rng, folder):
    kept = Kept.folder(folder.parent)
    shutil.copytree(kept / "log" / "workflow", folder / "workflow")
    damage_one(folder / "workflow", rng)

    def run():
        return t4r.SessionETL.load(folder / "workflow").transform(Kept.clicks)

    return run, lambda found: found.equals(Kept.etl.transform(Kept.clicks))


def schema_file(rng, folder):
    """A schema is for people to write, so another valid one is no fault."""
    kept = Kept.folder(folder.parent)
    path = folder / "schema.pbtxt"
    shutil.copy(kept / "log" / "schema.pbtxt", path)
    path.write_bytes(damaged(path.read_bytes(), rng))
    return lambda: t4r.Schema.load(path), lambda found: isinstance(found, t4r.Schema)


def checkpoint_folder(rng, folder):
    kept = Kept.folder(folder.parent)
    shutil.copytree(kept / "checkpoint", folder / "checkpoint")
    damage_one(folder / "checkpoint", rng)
    weights = [np.array(w) for w in Kept.model.get_weights()]

    def run():
        state = Checkpoint(folder / "checkpoint", Kept.run).restore(Kept.model)
        return state["epoch"], state["held"].tolist()

    def is_right(found):
        same = zip(weights, Kept.model.get_weights(), strict=True)
        return found == (1, [0.0, 1.0, 2.0]) and all(
            np.array_equal(one, other) for one, other in same
        )

    return run, is_right


# Values


def is_text(value):
    if not isinstance(value, str) or value == "":
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_integer(value):
    return (
        isinstance(value, (int, np.integer))
        and not isinstance(value, bool)
        and -(2**63) < value < 2**63
    )


def is_seed(value):
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and value >= 0


def is_number(value):
    if value is None:
        return True
    number = isinstance(value, (int, float, np.integer, np.floating))
    if isinstance(value, decimal.Decimal):
        return True
    if not number or isinstance(value, bool):
        return False
    return value != value or abs(value) < 1e15


FITS = {
    "s": is_text,
    "t": lambda v: (
        isinstance(v, (int, float, np.number))
        and not isinstance(v, bool)
        and -2e9 < v < 7e9
    ),
    "i": is_integer,
    "c": lambda v: v is None or v in ("", b"") or is_text(v),
    "x": is_number,
}


def rows_to_transform(rng, folder):
    """One odd value in a request; what does not fit must be refused."""
    Kept.folder(folder.parent)
    columns = {name: list(values) for name, values in Kept.clicks.items()}
    name = "sticx"[rng.integers(5)]
    place, value = int(rng.integers(CLICKS)), odd_value(rng)
    columns[name][place] = value
    as_rows = bool(rng.integers(2))
    given = columns
    if as_rows:
        given = [
            dict(zip(columns, r, strict=True))
            for r in zip(*columns.values(), strict=True)
        ]

    def is_right(found):
        if not FITS[name](value):
            return False
        lengths = Counter(columns["s"])
        keys = found["s"].to_pylist()
        return keys == list(dict.fromkeys(columns["s"])) and found[
            "length"
        ].to_pylist() == [lengths[k] for k in keys]

    return lambda: Kept.etl.transform(given), is_right


def sessions_to_recommend(rng, folder):
    Kept.folder(folder.parent)
    values = Kept.etl.vocabulary("i").values.to_list()
    items = [[values[n] for n in rng.integers(len(values), size=3)] for _ in range(2)]
    sessions = {"i": items, "c": [["c 1"] * 3] * 2}
    value = odd_value(rng)
    items[rng.integers(2)][rng.integers(3)] = value
    model = item_model()

    def is_right(found):
        return is_integer(value) and found["scores"].shape == (2, 3)

    return lambda: model.recommend(sessions, k=3), is_right


def item_model():
    if not hasattr(Kept, "items"):
        Kept.items = small_model(Kept.schema.select(["s", "i", "c"]))
    return Kept.items


def arrays_to_predict(rng, folder):
    Kept.folder(folder.parent)
    last = Kept.schema["i"].cardinality - 1
    items = rng.integers(2, last + 1, (2, 4))
    items[0, 3], items[1, 2:] = 0, 0
    x = np.zeros((2, 4))
    value = odd_value(rng)
    batch = {"i": items, "c": np.minimum(items, 3), "x": x}
    name = "ix"[rng.integers(2)]
    row, column = int(rng.integers(2)), int(rng.integers(4))
    changed = batch[name].astype(object)
    changed[row, column] = value
    try:
        batch[name] = np.array(changed.tolist())
    except (ValueError, OverflowError, TypeError):
        batch[name] = changed
    given = batch[name]

    def is_right(found):
        if given.shape != (2, 4) or given.dtype.kind not in "iufb":
            return False
        if name == "x":
            return bool((np.abs(given) <= 1e15).all())
        late = (given[:, 1:] != 0) & (given[:, :-1] == 0)
        fits = given.dtype.kind in "iu" and given.min() >= 0 and given.max() <= last
        return bool(fits and not late.any() and np.isfinite(found[:, 2:]).all())

    return lambda: Kept.model.predict_on_batch(batch), is_right


# Arguments

ARGUMENTS = {
    "etl": (
        lambda folder, **a: make_etl(**a).fit_transform(Kept.clicks),
        {
            "categorical": lambda v: v == [] or v == (),
            "min_count": lambda v: is_integer(v) and 1 <= v,
            "min_length": lambda v: is_integer(v) and 1 <= v <= 20,
            "max_length": lambda v: is_integer(v) and 2 <= v,
            "window": lambda v: False,
            "time_unit": lambda v: False,
            "time_features": lambda v: v == [] or v == (),
            "rows_in_memory": lambda v: v is None or (is_integer(v) and v >= 1),
        },
    ),
    "loader": (
        lambda folder, batch_size=4, **a: t4r.KerasSequenceLoader(
            Kept.made / "log" / "1", Kept.schema, batch_size, **a
        )[0],
        {
            "batch_size": lambda v: is_integer(v) and v >= 1,
            "target": lambda v: v is None,
            "seed": lambda v: is_seed(v),
            "max_length": lambda v: v is None or (is_integer(v) and v >= 1),
            "rank": lambda v: is_integer(v) and v == 0,
            "world_size": lambda v: is_integer(v) and v >= 1,
            "buffer_rows": lambda v: v is None or (is_integer(v) and v >= 1),
            "columns": lambda v: v is None,
            "sample_weight": lambda v: v is None,
        },
    ),
    "recommend": (
        lambda folder, **a: item_model().recommend({"i": [[100]], "c": [["c 1"]]}, **a),
        {
            "k": lambda v: is_integer(v) and 1 <= v <= 10,
            "batch_size": lambda v: is_integer(v) and v >= 1,
        },
    ),
}


def arguments(rng, folder):
    Kept.folder(folder.parent)
    item_model()
    call, fits = list(ARGUMENTS.values())[rng.integers(len(ARGUMENTS))]
    name = list(fits)[rng.integers(len(fits))]
    value = odd_value(rng)

    def is_right(found):
        try:
            return bool(fits[name](value))
        except (TypeError, ValueError):
            return False

    return lambda: call(folder, **{name: value}), is_right


ENTRIES = {
    "text log": text_log,
    "zipped log": zipped_log,
    "parquet log": parquet_log,
    "session files": session_files,
    "vocabulary": vocabulary_file,
    "workflow": workflow_folder,
    "schema": schema_file,
    "checkpoint": checkpoint_folder,
    "rows": rows_to_transform,
    "recommend": sessions_to_recommend,
    "arrays": arrays_to_predict,
    "arguments": arguments,
}
