"""Paths as callers give them: one rule for all that read and write."""

import os
from pathlib import Path

# What file systems allow, in bytes; the second of a path as a whole.
_LONGEST_NAME, _LONGEST_PATH = 255, 4095


def as_path(path, what):
    """A path as a `pathlib.Path`; refuses what is none. `~` is the home folder.

    Args:
        path: what was passed.
        what: string. What lies there, for the sentences.

    Raises:
        TypeError: it is neither text nor a path.
        ValueError: it is empty text, which would be the folder that one is in; or there
            can be no such path: it holds a null character, or a name that is too long.
    """
    return Path(as_text(path, what))


def as_text(path, what, home=True):
    """As `as_path`, as text: for a pattern, or for what Keras reads (`gs://…`).

    Args:
        path, what: as of `as_path`.
        home: bool. Whether `~` is the home folder: not where Keras reads or writes at
            the same path by itself, for which it is a name like others.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise TypeError(
            f"The path of {what} is {path!r}; it should be text or a pathlib path."
        )
    if not text:
        raise ValueError(f'The path of {what} is empty text; "." is this folder.')
    if "\0" in text:
        raise ValueError(f"The path of {what} holds a null character: {text!r}.")
    if home:
        text = os.path.expanduser(text)
    longest = max(text.split("/"), key=_size)
    if _size(longest) > _LONGEST_NAME or _size(text) > _LONGEST_PATH:
        raise ValueError(
            f"The path of {what} is too long, {longest[:20]}…: a name has up to "
            f"{_LONGEST_NAME} bytes, a path {_LONGEST_PATH}."
        )
    return text


def _size(text):
    return len(text.encode("utf-8", "surrogatepass"))
