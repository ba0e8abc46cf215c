"""Times of clicks, of any kind, as microseconds since 1970 (UTC)."""

import polars as pl

TIME = "__time"

MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0.001}
# Times outside of these years are a wrong unit, not a click.
_EARLIEST, _LATEST = -2_208_988_800_000_000, 7_258_118_400_000_000
_YEARS = "outside of the years 1900 to 2200"
_TIME_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%+",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d",
)


def column_kind(dtype):
    """`int64`, `float64`, `string`, `datetime`, `null`, or the type's own name."""
    if dtype.is_integer() or dtype == pl.Boolean:
        return "int64"
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
        if isinstance(dtype, pl.Datetime):
            time = pl.col(name)
            if dtype.time_zone is not None:
                time = time.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            changed.append(time.cast(pl.Datetime("us")))
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
        parsed = _from_text(times.cast(pl.String))
    elif kind == "datetime":
        parsed = times.cast(pl.Datetime("us", getattr(times.dtype, "time_zone", None)))
        parsed = parsed.to_physical()
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
            f"{_shown(times, bad)} lies "
            f"{_YEARS}."
        )
    if parsed.null_count() > times.null_count():
        bad = (parsed.is_null() & times.is_not_null()).arg_max()
        raise ValueError(
            f"Column {times.name!r}, {source.place(rows[bad])}: {times[bad]!r} is "
            "not a time; use ISO 8601 text such as 2014-04-07T10:51:09.277Z, or "
            "numbers with time_unit."
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


def _shown(times, place):
    """The value as Python has it, or as text where it has none of that year."""
    try:
        return repr(times[place])
    except (ValueError, OverflowError):
        return times[place : place + 1].cast(pl.String)[0]


def _from_text(times):
    parsed = None
    for layout in _TIME_FORMATS:
        found = times.str.to_datetime(layout, time_unit="us", strict=False)
        found = found.to_physical()
        parsed = found if parsed is None else parsed.fill_null(found)
        if parsed.null_count() == times.null_count():
            break
    return parsed
