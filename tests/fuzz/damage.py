"""Bytes, and values, as accidents and strangers change them."""

import datetime
import decimal

import numpy as np


def damaged(data, rng):
    """The bytes, changed in one to three places."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(data) + 1))
        end = place + int(rng.integers(1, 20))
        kind = rng.integers(8)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1 and place < len(data):
            data[place] = int(rng.integers(256))
        elif kind == 2:
            del data[place:end]
        elif kind == 3:
            data[place:place] = rng.bytes(end - place)
        elif kind == 4:
            del data[place:]
        elif kind == 5:
            data[place:end] = bytes(len(data[place:end]))
        elif kind == 6:
            data[place:place] = data[place:end]
        else:
            marks = [b'"', b",", b"\n", b"\r\n", b"\n\n", b"\t", b"-", b"0", b"1e9"]
            data[place:place] = marks[rng.integers(len(marks))]
    return bytes(data)


ODD_VALUES = [
    None,
    float("nan"),
    float("inf"),
    -float("inf"),
    1e39,
    -1e300,
    2**33,
    2**63,
    -(2**63),
    -1,
    0,
    1,
    7,
    7.0,
    7.5,
    True,
    "",
    " ",
    "7",
    "a\0",
    "x" * 10_000,
    "é",
    "\ud800",
    b"",
    b"\xff",
    [],
    [1],
    {},
    (1, 2),
    object(),
    1j,
    decimal.Decimal("1.5"),
    datetime.datetime(2024, 5, 1),
    datetime.date(1, 1, 1),
    np.int64(3),
    np.float32(1.5),
    np.array([1, 2]),
    np.datetime64("NaT"),
]


def odd_value(rng):
    return ODD_VALUES[rng.integers(len(ODD_VALUES))]
