"""Sessions that are in memory already: tables of any maker, as Arrow's."""

import os
from collections.abc import Set

import pyarrow as pa

from keras_t4r.arguments import is_frame
from keras_t4r.arrays import unmasked
from keras_t4r.schema.plain_numbers import plain_numbers


def as_table(sessions):
    """Sessions given as a table, or `None` where they are named by path.

    Args:
        sessions: `pyarrow.Table`, polars or pandas frame, or dict of lists. Or what
            leads to files: a string, a path or a list of them.

    Returns:
        A `pyarrow.Table`, or `None`.

    Raises:
        TypeError: `sessions` is none of these.
        ValueError: the columns make no table.
    """
    if isinstance(sessions, pa.Table):
        return sessions
    if isinstance(sessions, dict) or is_frame(sessions):
        try:
            for name in sessions if hasattr(sessions, "keys") else ():
                _refuse_sets(name, sessions[name])
            return pa.table(_plain(sessions))
        except (pa.ArrowException, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(
                f"The {type(sessions).__name__} makes no table of sessions ({reason}); "
                "give each column one value or one list a session."
            ) from error
    paths = [sessions] if isinstance(sessions, (str, os.PathLike)) else sessions
    if isinstance(paths, (list, tuple)) and all(map(_is_path, paths)):
        return None
    raise TypeError(
        f"The sessions are {_kind(sessions)}; give parquet files by path, a "
        "list of paths, a pyarrow.Table, a polars or pandas frame, or a dict of lists."
    )


def holds_sets(values):
    """Whether sessions came as sets, whose order is that of their hashes.

    Args:
        values: the sessions of a column, in any container.
    """
    kind = getattr(getattr(values, "dtype", None), "kind", None)
    plain = isinstance(values, list | tuple) or kind == "O"
    return plain and any(isinstance(value, Set) for value in values)


def _refuse_sets(name, values):
    if holds_sets(values):
        raise TypeError(f"column {name!r} holds a set, which has no order; give lists")


def _plain(sessions):
    """Without what Arrow reads wrong: see `plain_numbers`."""
    if isinstance(sessions, dict):
        return {name: _plain_column(values) for name, values in sessions.items()}
    # By name, for pandas need not be there.
    if type(sessions).__module__.split(".")[0] == "pandas" and sessions.ndim == 2:
        plain = {name: unmasked(column) for name, column in sessions.items()}
        sessions = sessions.copy(deep=False)
        for name, rows in plain.items():
            if isinstance(rows, list):
                sessions[name] = rows
    return sessions


def _plain_column(values):
    if isinstance(values, list | tuple):
        return plain_numbers(values)
    return unmasked(values)


def _is_path(path):
    return isinstance(path, (str, os.PathLike))


def _kind(sessions):
    if isinstance(sessions, (list, tuple)):
        other = next(s for s in sessions if not _is_path(s))
        return f"a list with an entry of type {type(other).__name__}"
    return f"of type {type(sessions).__name__}"
