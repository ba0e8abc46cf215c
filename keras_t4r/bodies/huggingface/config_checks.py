"""Checks of the fields of this package's own configs."""

import numbers


def check_fields(config, sizes=(), rates=(), positive=(), switches=()):
    """Raises `ValueError` where a field of `config` makes no sense.

    Args:
        config: a `BodyConfig`.
        sizes: names of fields that are whole numbers from 1 on.
        rates: names of fields from 0 up to, not including, 1.
        positive: names of fields that are numbers above 0.
        switches: names of fields that are True or False.
    """
    for names, fits, wanted in (
        (sizes, lambda x: _whole(x) and x > 0, "a whole number from 1 on"),
        (rates, lambda x: _number(x) and 0 <= x < 1, "a number from 0 to less than 1"),
        (positive, lambda x: _number(x) and x > 0, "a number above 0"),
        (switches, lambda x: isinstance(x, bool), "True or False"),
    ):
        for name in names:
            value = getattr(config, name)
            if not fits(value):
                raise ValueError(
                    f"{type(config).__name__}({name}={value!r}): it must be {wanted}."
                )


def _whole(x):
    return isinstance(x, int) and not isinstance(x, bool)


def _number(x):
    return isinstance(x, numbers.Real) and not isinstance(x, bool)
