"""What says "no value" beside null, where a format has no null of its own.

pandas writes NaN, CSV an empty field, and a request to Triton has no null at all. One
rule for all ways in: these are null.
"""

import numpy as np
import polars as pl

NO_VALUES = {"int64": np.iinfo("int64").min, "float64": float("nan"), "string": ""}


def as_null(value, kind):
    """A polars expression in which they are null.

    Args:
        value: polars expression.
        kind: string. A key of `NO_VALUES`.
    """
    if kind == "float64":
        return value.fill_nan(None)
    return pl.when(value != NO_VALUES[kind]).then(value).otherwise(None)
