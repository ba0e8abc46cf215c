"""Times of clicks, of any kind, as microseconds since 1970 (UTC)."""

import datetime

import polars as pl

from keras_t4r.data.clicks.time_text import from_text

TIME = "__time"

MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0.001}
# Times outside of these years are a wrong unit, not a click.
_EARLIEST, _LATEST = -2_208_988_800_000_000, 7_258_118_400_000_000
_YEARS = "outside of the years 1900 to 2200"
# Microseconds of one count of polars' datetimes, and of its dates.
_EACH = {"ms": 1_000, "us": 1, None: 86_400_000_000}
# Later and earlier than all that is told apart here; its double is an int64.
_FAR = 2**62
_EPOCH = datetime.datetime(1970, 1, 1)


def column_kind(dtype):
    """`int64`, `float64`, `string`, `datetime`, `boolean`, `null`, or its own name."""
    if dtype.is_integer():
        return "int64"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_float() or dtype.is_decimal():
        return "float64"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "string"
    if dtype in (pl.Datetime, pl.Date):
        return "datetime"
    return "null" if dtype == pl.Null else str(dtype)


def alike(schema):
    """Polars expressions of columns whose types differ from one file to the next.

    Times of several zones, and texts of several lists of categories, do not go into one
    column: they become UTC and text.
    """
    changed = []
    for name, dtype in schema.items():
        if dtype in (pl.Datetime, pl.Date):
            times = _in_microseconds(pl.col(name), dtype)
            changed.append(times.cast(pl.Datetime("us")))
        elif isinstance(dtype, pl.Categorical | pl.Enum):
            changed.append(pl.col(name).cast(pl.String))
    return changed


def microseconds(times, unit, source, rows):
    """Times of any kind as microseconds since 1970 (UTC).

    Args:
        times: polars `Series`. Numbers of `unit`, ISO 8601 text (UTC where it
            names no offset), dates or datetimes (UTC where without a zone).
        unit: `"s"`, `"ms"`, `"us"`, `"ns"` or `None`. Of numbers.
        source: `ClickLog` or `ClickTable`. Names the place of a bad value.
        rows: polars `Series`. The row number of each time.
    """
    kind = column_kind(times.dtype)
    if kind in ("int64", "float64"):
        parsed = _from_numbers(times, unit, source)
    elif kind == "string":
        parsed = from_text(times.cast(pl.String))
    elif kind == "datetime":
        parsed = _in_microseconds(times, times.dtype)
    elif kind == "null":
        parsed = times.cast(pl.Int64)
    else:
        raise TypeError(
            f"Column {times.name!r} of {source} holds {kind} values; times are "
            "numbers, ISO 8601 text or datetimes."
        )
    outside = ((parsed < _EARLIEST) | (parsed > _LATEST)).fill_null(False)
    if outside.any():
        bad = outside.arg_max()
        raise ValueError(
            f"Column {times.name!r}, {source.place(rows[bad])}: "
            f"{_shown(times, parsed, bad)} lies {_YEARS}."
        )
    if parsed.null_count() > times.null_count():
        bad = (parsed.is_null() & times.is_not_null()).arg_max()
        raise ValueError(
            f"Column {times.name!r}, {source.place(rows[bad])}: {times[bad]!r} is "
            "not a time; use ISO 8601 text of calendar dates, such as "
            "2014-04-07T10:51:09.277Z, or numbers with time_unit."
        )
    return parsed.rename(TIME)


def _from_numbers(times, unit, source):
    if unit is None:
        raise ValueError(
            f"Column {times.name!r} of {source} holds numbers; say what they "
            'count with time_unit="s", "ms", "us" or "ns".'
        )
    check_fine(times.name, times.dtype, source)
    known = times.drop_nans() if times.dtype.is_float() else times
    for limit in (known.min(), known.max()):
        # As Python's numbers, which do not overflow.
        if limit is not None and not (
            _EARLIEST <= limit * MICROSECONDS[unit] <= _LATEST
        ):
            raise ValueError(
                f"Column {times.name!r} of {source} holds {limit}, which lies {_YEARS} "
                f"in {unit!r}; is time_unit right?"
            )
    if times.dtype.is_float():
        scaled = (times * MICROSECONDS[unit]).fill_nan(None).round()
        return scaled.cast(pl.Int64, strict=False)
    times = times.cast(pl.Int64)
    return times // 1000 if unit == "ns" else times * MICROSECONDS[unit]


def check_fine(name, dtype, where):
    """Raises where times are of a type that tells apart only those far apart."""
    # In any unit: the smaller it is, the larger the numbers.
    if dtype in (pl.Float16, pl.Float32):
        raise TypeError(
            f"Column {name!r} of {where} holds {str(dtype).lower()}, which tells times "
            "two minutes apart at best: write float64 or integers."
        )


def _in_microseconds(times, dtype):
    """Datetimes or dates of polars, a series or an expression, as int64.

    polars panics where it is to cast, or to show, what lies beyond the years of its
    calendar: so none is cast, and what no int64 holds comes out as `_FAR`.
    """
    counts = times.to_physical().cast(pl.Int64)
    unit = getattr(dtype, "time_unit", None)
    if unit == "ns":
        return counts // 1_000
    limit = _FAR // _EACH[unit]
    return counts.clip(-limit, limit) * _EACH[unit]


def _shown(times, parsed, place):
    """The value as Python has it, or in words where it has none of that year."""
    if column_kind(times.dtype) != "datetime":
        return repr(times[place])
    try:
        return repr(_EPOCH + datetime.timedelta(microseconds=parsed[place]))
    except OverflowError:
        years = "after the year 9999" if parsed[place] > 0 else "before the year 1"
        return f"a time {years}"
