"""Fields of text files that should be numbers."""

import polars as pl

NUMBERS = {"int64": pl.Int64, "float64": pl.Float64}

# What people write for no value.
_NOTHINGS = ("null", "na", "n/a", "nan", "none", "nil", "-", "?", "\\n")


def hint(text):
    """What to do where a text looks like no value, or nothing."""
    if text.strip().lower() not in _NOTHINGS:
        return ""
    given = f"null_values=[{text!r}]"
    return f" If that says that there is none, pass ClickLog(…, {given})."


def text_of(column, kind):
    """The text of a column; of numbers, without the spaces around them."""
    text = pl.col(column)
    return text.str.strip_chars() if kind == "float64" else text


def is_wrong(text, kind):
    """Whether a text is no number of its kind; integers are to be as they are written.

    `007` is another id than `7`, so it must not become the same.
    """
    number = text.cast(NUMBERS[kind], strict=False)
    if kind == "int64":
        return number.cast(pl.String).ne_missing(text)
    return number.is_null() & text.is_not_null()
