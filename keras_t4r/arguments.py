"""Arguments of public functions, checked: one sentence where they are none."""

import operator


def whole_number(name, value, least=1, most=2**31 - 1):
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
