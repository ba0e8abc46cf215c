"""A split of sessions that depends on their ids alone."""

import numpy as np
import polars as pl

from keras_t4r.arguments import numbers

SPLIT_NAMES = ("train", "valid", "test")


def check_split(fractions):
    """Three fractions that add up to 1, as floats."""
    fractions = numbers("split", fractions, len(SPLIT_NAMES), least=0, most=1)
    if abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"split is {fractions}; it should be three fractions, of "
            f"{', '.join(SPLIT_NAMES)}, that add up to 1."
        )
    return fractions


def split_sessions(sessions, fractions, seed=0):
    """Draws the part (0 train, 1 valid, 2 test) of each session.

    The draw is a hash of the session id and the seed: neither the order of
    the rows nor what else is in the log changes it.

    Args:
        sessions: polars `Series`, int64 or string. Session ids.
        fractions: three floats. See `check_split`.
        seed: int. Another seed, another split.

    Returns:
        int array, one part a session.
    """
    draws = hash_to_unit(sessions, seed)
    return np.searchsorted(np.cumsum(fractions)[:2], draws, side="right")


def hash_to_unit(values, seed):
    """A float64 in [0, 1) of each value, the same on every machine."""
    if values.dtype == pl.String:
        keys = _hash_text(values)
    else:
        keys = values.to_numpy().astype(np.int64).view(np.uint64)
    mixed = _mix(keys ^ _mix(np.array([seed & (2**64 - 1)], np.uint64)))
    return (mixed >> np.uint64(11)) * 2.0**-53


def _mix(keys):
    """The finalizer of splitmix64: every input bit changes every output bit."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _hash_text(values):
    """Polynomial hash of the UTF-8 bytes, modulo 2^64."""
    lengths = values.str.len_bytes().to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    text = np.frombuffer(values.str.join("").item().encode(), np.uint8)
    places = np.arange(len(text)) - np.repeat(ends - lengths, lengths)
    powers = np.full(max(lengths.max(initial=0), 1), 0x100000001B3, np.uint64)
    powers = np.cumprod(powers, dtype=np.uint64)
    terms = (text.astype(np.uint64) + np.uint64(1)) * powers[places]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return sums[ends] - sums[ends - lengths] + lengths.astype(np.uint64)
