"""Numbers of numpy among those of Python, as Python's: Arrow reads them wrong.

So it does masked arrays in lists, whose masks it drops.
"""

import decimal
import fractions

import numpy as np

from keras_t4r.arrays import unmasked

_NUMBERS = (int, float, np.number, decimal.Decimal, fractions.Fraction)
_RATIONALS = (decimal.Decimal, fractions.Fraction)


def plain_numbers(values):
    """A list whose numbers are Python's, where they were of several types.

    Of `[1, np.float16(0.5)]` Arrow makes `[1, 0]`, and of integers of two of numpy's
    types an error. Here each keeps its value: a float32 is the number it stands for.
    What is masked is `None`.

    Args:
        values: list or tuple, of values or of such lists.
    """
    kinds = _kinds(values)
    if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):
        return plain_numbers(unmasked(values))
    numbers = {kind for kind in kinds if issubclass(kind, _NUMBERS)}
    strange = {kind for kind in kinds if issubclass(kind, (np.number, np.bool_))}
    if len(numbers) > 1:
        strange |= {kind for kind in kinds if issubclass(kind, _RATIONALS)}
    elif np.longdouble not in strange:
        return values
    return _plain(values, strange) if strange else values


def _kinds(values):
    kinds = set(map(type, values))
    if kinds & {list, tuple}:
        inner = (_kinds(row) for row in values if type(row) in (list, tuple))
        kinds = kinds.union(*inner)
    return kinds


def _plain(values, strange):
    return [
        _plain(value, strange)
        if type(value) in (list, tuple)
        else _number(value)
        if type(value) in strange
        else value
        for value in values
    ]


def _number(value):
    value = value.item() if isinstance(value, np.generic) else value
    # Of a long double numpy has no number of Python's.
    return float(value) if isinstance(value, (*_RATIONALS, np.generic)) else value
