"""What a thing is, as JSON that can be kept and compared."""

import hashlib
import json
import math
import re
import warnings
from itertools import zip_longest

import keras
import numpy as np

# What Keras notes of an object beside what it was made with: where its class was
# imported from, its number in this process, what it has seen.
_LEFT_OUT = {"module", "shared_object_id", "build_config", "compile_config"}
# Of longer lists of numbers the digest tells enough.
_LONG = 1000


def described(value):
    """A description of a value: equal for equal ones, in other processes too.

    Of an object it is the class and `get_config`. Where that cannot be had, only the
    class; of a model then its layers. Of a function it is the name. The numbers that
    Keras appends to names that it gives itself, as in `dense_3`, count what was made
    in the process: here, what is in the description.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of lambdas.
        found = _plain(value)
    return _numbered_anew(json.loads(json.dumps(found)))


def described_by_attributes(thing):
    """A description of an object without a config: its class and public attributes."""
    held = getattr(thing, "__dict__", {})
    held = {name: value for name, value in held.items() if not name.startswith("_")}
    return described({**_class(thing), **held})


def first_difference(was, now):
    """Where two descriptions differ first.

    Returns:
        Texts: the path there, and what is there in each. `None` where they are equal.
    """
    found = _first_difference(was, now)
    if found is None:
        return None
    path, was, now = found
    was, now = repr(was), repr(now)
    start = 0
    if max(len(was), len(now)) > 100:
        same = zip_longest(was, now)
        start = max(0, next(i for i, (a, b) in enumerate(same) if a != b) - 30)
    return path.removeprefix("."), _cut(was, start), _cut(now, start)


def _first_difference(was, now):
    if isinstance(was, dict) and isinstance(now, dict):
        pairs = [(key, was.get(key), now.get(key)) for key in {**was, **now}]
    elif _is_nested(was) and _is_nested(now):
        pairs = [(i, *both) for i, both in enumerate(zip_longest(was, now))]
    else:
        return None if was == now else ("", was, now)
    for key, a, b in pairs:
        found = _first_difference(a, b)
        if found is not None:
            plain = isinstance(key, str) and key.isidentifier()
            return (f".{key}" if plain else f"[{key!r}]") + found[0], *found[1:]
    return None


def _is_nested(value):
    return isinstance(value, list) and any(isinstance(v, dict | list) for v in value)


def _cut(text, start):
    before, end = "…" if start else "", start + 100
    return before + (text[start:] if len(text) <= end else f"{text[start : end - 3]}…")


def _plain(value):
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str | bytes):
        return str(value)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": list(value.shape), "dtype": str(value.dtype), "of": digest}
    if isinstance(value, list | tuple):
        found = [_plain(v) for v in value]
        if len(found) > _LONG and not _is_nested(found):
            digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
            return {"length": len(found), "of": digest}
        return found
    if isinstance(value, set | frozenset):
        return sorted(map(repr, map(_plain, value)))
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__":
            return "<lambda>"
        return {str(k): _plain(v) for k, v in value.items() if k not in _LEFT_OUT}
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return name
    return {**_class(value), "config": _config(value)}


def _number(value):
    if math.isnan(value):
        return "nan"  # No NaN is equal to another.
    # A learning rate of 0.01 is 0.009999999776 once it is a variable.
    single = np.float32(value)
    return float(str(single)) if single == value else value


def _class(thing):
    kind = type(thing)
    name = keras.saving.get_registered_name(kind)
    return {"class_name": kind.__name__, "registered_name": name}


def _config(thing):
    try:
        return _plain(thing.get_config())
    except Exception:  # It may be anybody's.
        if isinstance(thing, keras.Model):
            return {"layers": [_plain(layer) for layer in thing.layers]}
        return None


def _numbered_anew(description):
    """The description with the numbers in names given by Keras counted in it alone."""
    classes = set()
    _collect_classes(description, classes)
    given = {_name_of(kind) for kind in classes}
    names, counts = {}, {}

    def renamed(value):
        if isinstance(value, dict):
            return {key: renamed(v) for key, v in value.items()}
        if isinstance(value, list):
            return [renamed(v) for v in value]
        if not isinstance(value, str):
            return value
        base = re.sub(r"_\d+$", "", value)
        if base not in given:
            return value
        if value not in names:
            counts[base] = counts.get(base, -1) + 1
            names[value] = f"{base}_{counts[base]}" if counts[base] else base
        return names[value]

    return renamed(description)


def _collect_classes(value, found):
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            found.add(value["class_name"])
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _collect_classes(each, found)


def _name_of(kind):
    """The name that Keras gives to the first object of a class."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
