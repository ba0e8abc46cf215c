"""How an ETL standardised numbers, as a text that a mark and a schema carry."""

import re

_FLOAT = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_TEXT = re.compile(
    rf"mean ({_FLOAT}), deviation ({_FLOAT})(?:, first clicks ([0-9a-f]{{32}}))?"
)
# NVTabular sums in another order than the ETL: in deviations, and well below float32.
_ROUNDING = 1e-8


def standardised_by(mean, deviation, first_clicks=None):
    """The text of what numbers were standardised by.

    Args:
        mean, deviation: floats.
        first_clicks: string. A digest of the items' first times, where the numbers are
            ages since these.
    """
    text = f"mean {float(mean)!r}, deviation {float(deviation)!r}"
    return text if first_clicks is None else f"{text}, first clicks {first_clicks}"


def is_standardised(text):
    """Whether it is such a text."""
    return isinstance(text, str) and _TEXT.fullmatch(text) is not None


def same_numbers(one, other):
    """Whether numbers mean the same by two such texts, but for rounding."""
    if one == other or not (is_standardised(one) and is_standardised(other)):
        return one == other
    *one, first = _TEXT.fullmatch(one).groups()
    *other, other_first = _TEXT.fullmatch(other).groups()
    off = max(abs(float(a) - float(b)) for a, b in zip(one, other, strict=True))
    return first == other_first and off <= _ROUNDING * float(one[1])
