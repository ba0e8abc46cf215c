"""Ids that callers do not want answered, in raw values → encoded, a row a session."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from keras_t4r.arrays import as_array, unmasked
from keras_t4r.files.sentences import first_line
from keras_t4r.schema.raw_values import read_ids

# Widths are powers of two of it, so that few shapes are compiled.
_LEAST_WIDTH = 8
# What served models call the input of such ids.
EXCLUDE = "exclude"


def excluded_ids(exclude, sessions, vocabulary, rows):
    """Encoded ids `(sessions, n)`, filled up with 0; of what is unknown, 0.

    Args:
        exclude: list of raw ids for all sessions, or a list of such lists, one for each
            session; or what holds the same, as an array, a tensor or a series.
        sessions: int. How many there are.
        vocabulary: `Vocabulary`, or `None` where raw ids are the encoded ones.
        rows: int. The highest encoded id + 1.

    Raises:
        TypeError: it is neither, or the ids are of another type than the model's.
        ValueError: there is not a list for each session.
    """
    lists = excluded_lists(exclude, sessions)
    ids = _encoded([value for x in lists for value in x], vocabulary, rows)
    if len(lists) < sessions:
        # Each once, for what all sessions get should be no longer than the catalogue.
        first = np.unique(ids, return_index=True)[1]
        ids = ids[np.sort(first)]
        lists = [ids]
    wide = as_table(ids, lists, 0, _width(max(map(len, lists))))
    return np.broadcast_to(wide, (sessions, wide.shape[1]))


def excluded_lists(exclude, sessions):
    """One list of raw ids, which is for all sessions, or one for each.

    Args:
        exclude, sessions: as of `excluded_ids`.

    Raises:
        TypeError: it is neither.
        ValueError: there is not a list for each session.
    """
    entries = _entries(exclude)
    if entries is None:
        is_table = hasattr(exclude, "columns")
        given = f"a {type(exclude).__name__}" if is_table else repr(exclude)
        raise TypeError(
            f"exclude is {given}; it should be a list of raw ids, or a list of such "
            "lists, one for each session."
        )
    lists = [_entries(entry) for entry in entries]
    nested = [found is not None for found in lists]
    if any(nested) and not all(nested):
        raise TypeError(
            "exclude mixes ids and lists of ids: give one list for all sessions, or a "
            "list for each, which may be empty."
        )
    if not any(nested):
        return [entries]
    if len(lists) != sessions:
        raise ValueError(
            f"exclude holds {len(lists)} lists of ids, but there are {sessions} "
            "sessions: give one for each, or one list of ids for all."
        )
    return lists


def as_table(ids, lists, nothing, width):
    """Ids `(lists, width)`, in the type that they have, filled up.

    Args:
        ids: array of those of all lists, one after the other.
        lists: list of what has their lengths.
        nothing: what stands where a list has ended.
    """
    wide = np.full((len(lists), width), nothing, ids.dtype)
    lengths = np.array([len(x) for x in lists])
    wide[np.arange(width) < lengths[:, None]] = ids
    return wide


def _entries(values):
    """What a list of any kind holds; `None` where it is none, as a text or a table."""
    if isinstance(values, str | bytes | Mapping) or hasattr(values, "columns"):
        return None
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.to_pylist()
    if isinstance(values, pa.ListScalar):
        return values.as_py()
    if hasattr(values, "to_list"):
        return values.to_list()
    if hasattr(values, "__array__"):
        # Of a tensor each entry would be one without an axis.
        masked = isinstance(values, np.ma.MaskedArray)
        values = values if masked else as_array("exclude", values)
        return list(unmasked(values)) if values.ndim else None
    return list(values) if hasattr(values, "__iter__") else None


def _encoded(values, vocabulary, rows):
    if not values:
        return np.zeros(0, "int32")
    if vocabulary is None:
        ids = read_ids(values, "exclude").fill_null(0).to_numpy()
        return np.where((ids > 0) & (ids < rows), ids, 0).astype("int32")
    try:
        if vocabulary.unknown_id is None:
            # It has no id for unknown values, and they are no answers anyway.
            held = vocabulary.holds(values)
            ids = np.zeros(len(values), "int32")
            known = [value for value, there in zip(values, held, strict=True) if there]
            ids[held] = vocabulary.encode(known)
            return ids
        return vocabulary.encode(values)
    except TypeError as error:
        raise TypeError(f"exclude: {first_line(error)}.") from error


def _width(most):
    return max(_LEAST_WIDTH, 1 << (int(most) - 1).bit_length() if most else 0)
