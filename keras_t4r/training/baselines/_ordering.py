"""Orders of (row, score, tie-breaker), in one sort of one packed integer each.

A non-negative float32 has the order of its bit pattern, which takes 31 bits. With 9
bits for the row and 24 for the tie-breaker the triple fills an unsigned 64-bit integer,
so that a plain sort does what three stable ones would.
"""

import numpy as np

MAX_ROWS = 1 << 9
MAX_IDS = 1 << 24
_SMALLEST_NORMAL = np.float32(np.finfo(np.float32).tiny)


def pack(rows, scores, ids) -> np.ndarray:
    """Packs rows (< 512), positive scores and ids (< 2**24) into sortable keys."""
    scores = np.maximum(scores.astype(np.float32), _SMALLEST_NORMAL)
    keys = rows.astype(np.uint64) << np.uint64(55)
    keys |= scores.view(np.uint32).astype(np.uint64) << np.uint64(24)
    keys |= ids.astype(np.uint64)
    return keys


def unpack(keys):
    """Inverts `pack`, up to the rounding of the scores to float32."""
    rows = (keys >> np.uint64(55)).astype(np.int64)
    bits = (keys >> np.uint64(24)) & np.uint64(0x7FFFFFFF)
    ids = (keys & np.uint64(MAX_IDS - 1)).astype(np.int64)
    return rows, bits.astype(np.uint32).view(np.float32), ids


def strictly_increasing(keys) -> np.ndarray:
    """Scores of sorted keys, tied ones lifted apart by one float32 step each.

    With the bit pattern `b(n)` of the n-th score of a row, its lifted pattern is
    `c(n) = max(b(n), c(n - 1) + 1)`, the least change that leaves no tie. As
    `c(n) - n` is the running maximum of `b(n) - n`, no loop is needed; and as the row
    stands above the score's bits, each row starts afresh.
    """
    bits = (keys >> np.uint64(24)).astype(np.int64)
    place = np.arange(len(bits))
    bits = np.maximum.accumulate(bits - place) + place
    return (bits & 0x7FFFFFFF).astype(np.uint32).view(np.float32)


def largest_in_each_row(keys, rows, count) -> np.ndarray:
    """Mask of the last `count` of each row's sorted keys."""
    ends = np.cumsum(np.bincount(rows, minlength=MAX_ROWS))
    return ends[rows] - np.arange(len(keys)) <= count
