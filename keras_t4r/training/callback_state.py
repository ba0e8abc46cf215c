"""What Keras callbacks have counted so far, to be saved and given back.

Keras has no call for it. What a callback holds is in its attributes: numbers, texts,
arrays, and lists, tuples, sets and dicts of them are kept. What is none of these, as an
open file or a model, stays that of the new callback.
"""

import keras
import numpy as np

# Given to a callback by `fit`.
_OF_FIT = {"params", "_model"}


def states_of(callbacks):
    """The states of callbacks, as JSON with NumPy arrays in it."""
    return [
        {"class": type(callback).__name__, "attributes": _attributes(callback)}
        for callback in callbacks
    ]


def set_states(callbacks, states):
    """Gives callbacks, by their place in the list, the states that were saved.

    Raises:
        ValueError: a callback is of another class than the one that was saved.
    """
    for place, (callback, state) in enumerate(zip(callbacks, states, strict=False)):
        if type(callback).__name__ != state["class"]:
            raise ValueError(
                f"Callback {place + 1} is a {type(callback).__name__}, but the "
                f"checkpoint was written with a {state['class']} there: resume with "
                "the same callbacks in the same order."
            )
    for callback, state in zip(callbacks, states, strict=False):
        for name, value in state["attributes"].items():
            # A file may come from anywhere: it changes what an object holds, and no
            # method of its class.
            if not callable(getattr(type(callback), name, None)):
                setattr(callback, name, _decode(value))


class _NotKept(Exception):
    """A value is of a kind that is not saved."""


def _attributes(callback):
    kept = {}
    for name, value in vars(callback).items():
        if name not in _OF_FIT:
            try:
                kept[name] = _encode(value)
            except _NotKept:
                continue
    return kept


def _encode(value):
    if value is None or type(value) in (bool, int, float, str):
        return value
    for kind in (list, tuple, set):
        if type(value) is kind:
            return {kind.__name__: [_encode(v) for v in value]}
    if type(value) is dict:
        return {"dict": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.array(value)
        if array.dtype.name == "bfloat16":
            array = array.astype("float32")
        if array.dtype.kind in "biufcSU":
            return {"array" if isinstance(value, np.ndarray) else "scalar": array}
    # `keras.ops.less`, or `greater`: how a callback compares what it monitors.
    name = getattr(value, "__name__", "")
    if name and getattr(keras.ops, name, None) is value:
        return {"keras.ops": name}
    raise _NotKept


def _decode(value):
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind in ("list", "tuple", "set"):
        made = [_decode(v) for v in content]
        return {"list": list, "tuple": tuple, "set": set}[kind](made)
    if kind == "dict":
        return {_decode(k): _decode(v) for k, v in content}
    if kind == "keras.ops":
        function = getattr(keras.ops, content, None)
        if content.startswith("_") or not callable(function):
            raise ValueError(f"keras.ops has no function {content!r}.")
        return function
    return content if kind == "array" else content[()]
