"""Odd values in rows, sessions, arrays and arguments."""

import decimal
from collections import Counter

import numpy as np
from damage import ODD_VALUES, odd_value
from fuzzed_log import CLICKS, make_etl
from kept_entries import Kept, small_model

import keras_t4r as t4r


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


def is_whole(value):
    """Of any size: as many rows as one likes."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_seed(value):
    return is_whole(value) and value >= 0


def is_nothing(value):
    """What stands for no value, as pandas and numpy write it too."""
    nat = isinstance(value, np.datetime64) and np.isnat(value)
    return value is None or value is ODD_VALUES[1] or nat


def is_number(value):
    if is_nothing(value):
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
        isinstance(v, (int, float, np.number, decimal.Decimal))
        and not isinstance(v, bool)
        and -2e9 < v < 7e9
    ),
    "i": is_integer,
    "c": lambda v: is_nothing(v) or v in ("", b"") or is_text(v),
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
            "rows_in_memory": lambda v: v is None or (is_whole(v) and v >= 1),
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
            "buffer_rows": lambda v: v is None or (is_whole(v) and v >= 1),
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
