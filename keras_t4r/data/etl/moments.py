"""Mean and deviation of numbers, exact, in whatever order and parts they come."""

import math
import sys
from fractions import Fraction

import numpy as np

_BITS = 27
_LOW = (1 << _BITS) - 1
# So many numbers of 27 bits add up in 64.
_CHUNK = 1 << 24


class Moments:
    """Mean and sample deviation of finite numbers that come in parts.

    A float64 is a whole number of 53 bits times a power of two. The whole numbers, and
    their squares, are added up by power, as integers, so nothing is rounded before the
    end: the order does not matter, nor how the numbers were dealt to parts; a constant
    has deviation 0 to the bit; and no square overflows.
    """

    def __init__(self):
        self.count = 0
        self._sum = self._squares = 0  # in units of 2^-1074 and of its square

    def add(self, values):
        """Takes a flat array of finite numbers."""
        values = np.asarray(values, np.float64)
        self.count += len(values)
        for start in range(0, len(values), _CHUNK):
            self._add(values[start : start + _CHUNK])

    def _add(self, values):
        fractions, powers = np.frexp(values)
        # |whole| < 2^53, and values = whole · 2^(power - 53).
        wholes = np.ldexp(fractions, 53).astype(np.int64)
        shifts = powers.astype(np.int64) + (1074 - 53)
        # Of the least numbers, the last bits are 0.
        wholes >>= np.maximum(-shifts, 0)
        shifts = np.maximum(shifts, 0)
        # Those of one power side by side, so that a sum is a run.
        order = np.argsort(shifts.astype(np.uint16), kind="stable")
        wholes, shifts = wholes[order], shifts[order]
        starts = np.flatnonzero(np.diff(shifts, prepend=-1))
        places = shifts[starts].tolist()
        high, low = wholes >> _BITS, wholes & _LOW
        for part, bits in ((high, _BITS), (low, 0)):
            for place, total in zip(places, _totals(part, starts), strict=True):
                self._sum += total << (place + bits)
        products = ((high * high, 2 * _BITS), (high * low, _BITS + 1), (low * low, 0))
        for product, bits in products:
            # Products have twice the bits, so they are added in two halves.
            for half, more in ((product >> _BITS, _BITS), (product & _LOW, 0)):
                for place, total in zip(places, _totals(half, starts), strict=True):
                    self._squares += total << (2 * place + bits + more)

    def result(self):
        """Mean and sample deviation; (0, 1) of nothing, deviation 1 of a constant."""
        if not self.count:
            return 0.0, 1.0
        mean = Fraction(self._sum, self.count)
        spread = self._squares - mean * self._sum
        deviation = _root(spread / max(self.count - 1, 1))
        unit = Fraction(1, 1 << 1074)
        try:
            deviation = float(deviation * unit)
        except OverflowError:
            deviation = sys.float_info.max
        return float(mean * unit), deviation or 1.0


def _totals(values, starts):
    """The sum of each run, as Python's integers; none of them overflows."""
    return np.add.reduceat(values, starts).tolist()


def _root(square):
    """The square root of a fraction, to 64 bits and more."""
    # Scaled so that the root's whole part has as many bits as wanted.
    shift = max(
        0, 130 - square.numerator.bit_length() + square.denominator.bit_length()
    )
    shift += shift % 2
    scaled = (square.numerator << shift) // square.denominator
    return Fraction(math.isqrt(scaled), 1 << (shift // 2))
