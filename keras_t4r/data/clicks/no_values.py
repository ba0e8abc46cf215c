"""What says "no value" beside null, where a format has no null of its own.

pandas writes NaN, CSV an empty field, and a request to Triton has no null at all. One
rule for all ways in: these are null. Text files may have texts of their own beside, for
databases write some; they are null where the file is read.
"""

import numpy as np
import polars as pl

NO_VALUES = {"int64": np.iinfo("int64").min, "float64": float("nan"), "string": ""}

# In text files, beside nothing at all: what MySQL and Hive write, and nobody else.
NO_TEXTS = ("\\N",)


def as_null(value, kind, others=()):
    """A polars expression in which they are null.

    Args:
        value: polars expression.
        kind: string. A key of `NO_VALUES`.
        others: strings. Texts that are null, too.
    """
    if kind == "float64":
        return value.fill_nan(None)
    known = value != NO_VALUES[kind]
    for text in others:
        known &= value != text
    return pl.when(known).then(value).otherwise(None)
