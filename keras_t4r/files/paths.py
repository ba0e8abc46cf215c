"""Paths as callers give them."""

import os
from pathlib import Path


def as_path(path, what):
    """A path as a `pathlib.Path`; refuses what is none.

    Args:
        path: what was passed.
        what: string. What lies there, for the sentences.

    Raises:
        TypeError: it is neither text nor a path.
        ValueError: it is empty text, which would be the folder that one is in.
    """
    if isinstance(path, os.PathLike) and isinstance(os.fspath(path), str):
        return Path(path)
    if not isinstance(path, str):
        raise TypeError(
            f"The path of {what} is {path!r}; it should be text or a pathlib path."
        )
    if not path:
        raise ValueError(f'The path of {what} is empty text; "." is this folder.')
    return Path(path)
