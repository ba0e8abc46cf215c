import operator


def whole_number(name, value, least=1):
    """An argument as an `int`; refuses what is none, as 2.5, `True` or a list.

    Args:
        name: string. The argument's.
        value: what was passed.
        least: int or `None`. The least that is allowed.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is less than `least`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it should be a whole number.") from None
    if least is not None and number < least:
        raise ValueError(f"{name} is {number}; it should be {least} or more.")
    return number
