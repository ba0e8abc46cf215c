"""What Keras callbacks have counted so far, to be saved and given back.

Keras has no call for it. What a callback holds is in its attributes: numbers, texts,
arrays, and lists, tuples, sets and dicts of them are kept. What is none of these, as an
open file or a model, stays that of the new callback.
"""

import inspect

import keras
import numpy as np

# Given to a callback by `fit`.
_OF_FIT = {"params", "_model"}
# Arguments that change what is shown or kept, and not what is learned.
_SHOWN = {"verbose", "append"}
_MARKS = frozenset("/\\~{")
_SCALARS = (bool, int, float, str, type(None))


def arguments_of(callback):
    """What a callback was made with, as far as it holds it under the same name.

    To be asked before the callback is used. Dict of argument to number or text.
    """
    names = inspect.signature(type(callback).__init__).parameters
    held = {name: vars(callback)[name] for name in names if name in vars(callback)}
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in held.items()}
    return {name: v for name, v in plain.items() if type(v) in _SCALARS}


def states_of(callbacks, arguments):
    """The states of callbacks, as JSON with NumPy arrays in it.

    Args:
        callbacks: list.
        arguments: list. `arguments_of` each.
    """
    return [
        {
            "class": type(callback).__name__,
            "arguments": made_with,
            "attributes": _attributes(callback),
        }
        for callback, made_with in zip(callbacks, arguments, strict=True)
    ]


def check_states(callbacks, states, arguments):
    """Refuses callbacks that are not those whose states were saved.

    Args:
        callbacks: list.
        states: list. What `states_of` gave; `None` where nothing is known of them.
        arguments: list. `arguments_of` each.

    Raises:
        ValueError: there are more or fewer than were saved, or one is of another class
            or was made with other numbers or choices. Paths, and what is shown, may
            differ.
    """
    if states is None:
        return
    if len(callbacks) != len(states):
        raise ValueError(
            f"The checkpoint was written with {len(states)} callbacks, and here are "
            f"{len(callbacks)}: resume with the same ones, in the same order."
        )
    for number, (callback, state) in enumerate(zip(callbacks, states, strict=True), 1):
        kind, saved = type(callback).__name__, state["class"]
        if kind != saved:
            raise ValueError(
                f"Callback {number} is a {kind}, but the checkpoint was written with a "
                f"{saved} there: resume with the same callbacks in the same order."
            )
        for name, now in arguments[number - 1].items():
            was = state["arguments"].get(name, now)
            # Keras turns some around: a callback that was used before has that.
            if now not in (was, state["attributes"].get(name, now)) and not (
                name in _SHOWN or _is_path(was) or _is_path(now)
            ):
                raise ValueError(
                    f"Callback {number}, a {kind}, was made with {name}={was!r} when "
                    f"the checkpoint was written, and has {now!r} now: resume with the "
                    "same callbacks, or use another checkpoint folder."
                )


def set_states(callbacks, states):
    """Gives callbacks, by their place in the list, the states that were saved.

    A file may come from anywhere: it changes what an object holds, and no method of its
    class, nor where the object writes. Texts that a callback was made with and texts
    that are paths stay its own.
    """
    for callback, state in zip(callbacks, states, strict=False):
        names = inspect.signature(type(callback).__init__).parameters
        for name, value in state["attributes"].items():
            value = _decode(value)
            text = isinstance(value, str)
            if _is_settable(callback, name) and not (
                (text and name in names) or _is_path(value)
            ):
                setattr(callback, name, value)


def _is_settable(callback, name):
    """Whether a file may set an attribute: no method, and nothing that makes the object
    what it is."""
    dunder = name.startswith("__")
    method = callable(getattr(type(callback), name, None))
    return not (dunder or method or name in _OF_FIT)


def _is_path(value):
    """Whether a text can lead out of the working folder; `{}` is filled in later."""
    return isinstance(value, str) and not _MARKS.isdisjoint(value)


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
    if kind == "array":
        return content
    value = content[()]
    return str(value) if isinstance(value, np.str_) else value
