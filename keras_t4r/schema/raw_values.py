"""What a vocabulary is given, of whatever kind, as a series."""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from keras_t4r.files.sentences import first_line
from keras_t4r.schema.plain_numbers import plain_numbers

# What polars ends in where it has no type for values.
NO_SERIES = (
    TypeError,
    ValueError,
    NotImplementedError,
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)


def is_too_wide(kind):
    """Whether an Arrow type holds decimals that polars panics of, which it prints."""
    while not pa.types.is_decimal256(kind) and hasattr(kind, "value_type"):
        kind = kind.value_type
    return pa.types.is_decimal256(kind)


def read_values(values, name):
    """Values of any kind as an int64 or text series; booleans as `true` and `false`."""
    series = _plain_series(values, f"Column {name!r}", "integers or text")
    if series.dtype in (pl.Categorical, pl.Enum, pl.Null, pl.Boolean):
        series = series.cast(pl.String)
    if series.dtype.is_integer():
        return _int64(series, f"Column {name!r}")
    if series.dtype != pl.String:
        raise TypeError(
            f"Column {name!r} holds values of type {series.dtype}; ids are integers "
            "or text."
        )
    return series


def read_ids(values, what):
    """Encoded ids as an int64 series: integers, or floats that are exactly whole.

    Nothing else is an id, whatever it could be read as: no text, truth value, date,
    time or decimal.

    Args:
        values: as of `read_values`.
        what: string. What holds them, for the sentences.
    """
    series = _plain_series(values, what, "whole ids")
    if series.dtype.is_float():
        series = series.cast(pl.Float64)
        # NaN is beyond every number here.
        fine = (series.floor() == series) & (series.abs() < 2.0**63)
        if not fine.fill_null(True).all():
            value = series.filter(~fine)[0]
            raise TypeError(f"{what} holds {value}; encoded ids are whole numbers.")
    elif not (series.dtype.is_integer() or series.dtype == pl.Null):
        raise TypeError(
            f"{what} holds values of type {series.dtype}; encoded ids are whole "
            "numbers."
        )
    return _int64(series, what)


def read_counts(counts, size, name):
    """How often values were seen, as an int64 series without nulls."""
    what = f"The list of counts of column {name!r}"
    series = _plain_series(counts, what, "integers").alias("count")
    if len(series) != size:
        raise ValueError(f"Column {name!r} has {size} values but {len(series)} counts.")
    if series.null_count():
        raise ValueError(
            f"Count {series.is_null().arg_max()} of column {name!r} is null."
        )
    if size and not series.dtype.is_integer():
        raise TypeError(f"{what} is of type {series.dtype}; it should be of integers.")
    if size and series.min() < 0:
        raise ValueError(
            f"Count {series.arg_min()} of column {name!r} is {series.min()}; it should "
            "be 0 or more."
        )
    return _int64(series, what)


def _plain_series(values, what, wanted):
    """Values of any kind as a series; NaN and its like among others are null."""
    if isinstance(values, (str, bytes, dict, set, frozenset)):
        raise TypeError(
            f"{what} is a {type(values).__name__}; pass a list of {wanted}."
        )
    try:
        if isinstance(values, np.ma.MaskedArray):
            values = values.tolist()
        if isinstance(values, pa.ChunkedArray | pa.Array):
            if pa.types.is_run_end_encoded(values.type):
                values = pc.run_end_decode(values)
            if is_too_wide(values.type):
                raise TypeError(f"of Arrow's type {values.type}")
            return pl.from_arrow(values)
        if isinstance(values, pl.Series):
            return values
        if isinstance(values, np.ndarray) and values.dtype != object:
            return pl.Series(values)
        # What pandas writes for no value is none in a list of Python's either.
        return pl.from_arrow(pa.array(plain_numbers(list(values)), from_pandas=True))
    except OverflowError as error:
        raise _beyond(what) from error
    except NO_SERIES as error:
        raise TypeError(
            f"{what} cannot be read ({first_line(error)}): pass a list of {wanted}."
        ) from error


def _int64(series, what):
    try:
        return series.cast(pl.Int64)
    except pl.exceptions.InvalidOperationError as error:
        raise _beyond(what) from error


def _beyond(what):
    return TypeError(
        f"{what} holds an integer beyond int64: give ids of that size as text."
    )
