"""Arguments of public functions, checked: one sentence where they are none."""

import math
import operator
from collections.abc import Iterable
from numbers import Real

import numpy as np

# Ids and sizes are int32 in models.
LARGEST_INT = 2**31 - 1
# Of larger numbers a product is none in float32.
_LARGE = 1e15


def whole_number(name, value, least=1, most=LARGEST_INT):
    """An argument as an `int`; refuses what is none, as 2.5, `True` or a list.

    Args:
        name: string. The argument's.
        value: what was passed.
        least, most: ints or `None`. What is allowed, ends included.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is less or more than what is allowed.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it should be a whole number.") from None
    if least is not None and number < least:
        raise ValueError(f"{name} is {number}; it should be {least} or more.")
    if most is not None and number > most:
        raise ValueError(f"{name} is {number}; it should be {most} or less.")
    return number


def number(name, value, least=-_LARGE, most=_LARGE, above=None, below=None):
    """An argument as a `float`; refuses NaN, text and truth values.

    Args:
        name: string. The argument's.
        value: what was passed.
        least, most: floats. What is allowed, ends included; infinity only if given.
        above, below: floats or `None`. What is allowed, ends excluded.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN, or less or more than what is allowed.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; it should be a number.")
    if math.isnan(value):
        raise ValueError(f"{name} is NaN; it should be a number.")
    if above is not None and value <= above:
        raise ValueError(f"{name} is {value}; it should be above {above}.")
    if below is not None and value >= below:
        raise ValueError(f"{name} is {value}; it should be below {below}.")
    if value < least:
        raise ValueError(f"{name} is {value}; it should be {least:g} or more.")
    if value > most:
        raise ValueError(f"{name} is {value}; it should be {most:g} or less.")
    return float(value)


def numbers(name, value, count, **limits):
    """A list of `count` numbers as a tuple of floats; for limits see `number`.

    Raises:
        TypeError: it is no list of numbers.
        ValueError: there are more or fewer, or one is not allowed.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} is {value!r}; it should be a list of {count} numbers.")
    if len(value) != count:
        raise ValueError(f"{name} is {value!r}; it should be {count} numbers.")
    return tuple(number(f"{name}[{i}]", v, **limits) for i, v in enumerate(value))


def truth(name, value):
    """A truth value as a `bool`; refuses what only counts as one, as 2 or `"False"`.

    Raises:
        TypeError: it is neither `True` nor `False`, Python's or numpy's.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; it should be True or False.")
    return bool(value)


def rate(name, value):
    """A share in [0, 1), such as that of dropout; see `number`."""
    return number(name, value, least=0, below=1)


def optional(check, name, value, **limits):
    """`None`, or what `check(name, value, **limits)` gives."""
    return None if value is None else check(name, value, **limits)


def drawing_seed(value):
    """The seed of a layer, as Keras takes it: an `int`, or `None` for any."""
    return optional(whole_number, "seed", value, least=0, most=2**32 - 1)


def one_of(argument, value, choices):
    """Refuses what is none of a few texts, or `None` where that is a choice.

    Raises:
        ValueError: it is none of them.
    """
    plain = value is None or isinstance(value, str)
    if not plain or value not in choices:
        raise ValueError(f"{argument} is {value!r}; it should be one of {choices}.")


def names(argument, value):
    """A list of names as a tuple; one name may stand for a list of it.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise TypeError(f"{argument} is {value!r}; it should be a list of names.")


def ordered(argument, value, what):
    """What has an order, as a list: a list, an array of one axis, a generator.

    Args:
        argument: string. Its name.
        value: what was passed.
        what: string. What it should be a list of, for the sentence.

    Raises:
        TypeError: it has no order, as a set, or is a text, a dict or one value.
    """
    plain = isinstance(value, str | bytes | dict | set | frozenset)
    # An array gives Python's own numbers.
    found = value.tolist() if hasattr(value, "tolist") else value
    if plain or not isinstance(found, Iterable):
        raise TypeError(f"{argument} is {value!r}; it should be a list of {what}.")
    return list(found)


def is_frame(value):
    """Whether it is a table, of whatever maker."""
    # Arrow's own protocol, and the older one of data frames (pandas 1).
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__dataframe__")
