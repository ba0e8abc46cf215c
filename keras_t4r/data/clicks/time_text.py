"""Times as text: ISO 8601, of calendar dates, in all of its forms."""

import polars as pl

# What logs are full of, read fast.
_LAYOUTS = (
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%+",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d",
)
_ZONE = r" ?(?<zone>[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
# With marks between the numbers, or without any.
_FORMS = (
    r"^(?<year>\d{4})-(?<month>\d\d)-(?<day>\d\d)"
    r"(?:[Tt ](?<hour>\d\d)(?::(?<minute>\d\d)(?::(?<second>\d\d)(?<rest>[.,]\d+)?)?)?"
    + _ZONE
    + ")?$",
    r"^(?<year>\d{4})(?<month>\d\d)(?<day>\d\d)"
    r"(?:[Tt ](?<hour>\d\d)(?:(?<minute>\d\d)(?:(?<second>\d\d)(?<rest>[.,]\d+)?)?)?"
    + _ZONE
    + ")?$",
)
_DAY = 86_400_000_000


def from_text(times):
    """Microseconds since 1970 (UTC) of ISO 8601 text; null where it is none.

    Args:
        times: polars `Series` of text. `2019-10-01`, and after `T` or a space hours,
            minutes, seconds and their fraction, as many of them as there are, and a
            zone (`Z`, `UTC`, `+02`, `+0200`, `+02:00`); the same without marks,
            `20191001T000000Z`. UTC where it names no zone. 24:00 ends a day.
    """
    parsed = None
    for layout in _LAYOUTS:
        found = times.str.to_datetime(layout, time_unit="us", strict=False)
        found = found.to_physical()
        parsed = found if parsed is None else parsed.fill_null(found)
        if parsed.null_count() == times.null_count():
            return parsed
    stripped = times.str.strip_chars()
    for form in _FORMS:
        parsed = parsed.fill_null(_of_form(stripped, form))
    return parsed


def _of_form(times, form):
    """The fields of a pattern, put together in the one way that polars reads."""
    fields = (
        times.alias("text").to_frame().select(pl.col("text").str.extract_groups(form))
    )
    fields = fields.unnest("text")
    none = pl.lit("00")
    rest = pl.col("rest").str.replace(",", ".").str.slice(0, 10).fill_null(".0")
    zone = pl.col("zone").str.contains(r"^[+-]")
    zone = pl.when(zone).then(pl.col("zone")).otherwise(pl.lit("+00:00"))
    clock = [pl.col("minute").fill_null(none), pl.col("second").fill_null(none), rest]
    over = pl.concat_str(clock).str.contains(r"^0000\.0+$") & (pl.col("hour") == "24")
    over = over.fill_null(False)
    hour = pl.when(over).then(none).otherwise(pl.col("hour").fill_null(none))
    date = pl.concat_str("year", "month", "day", separator="-")
    text = pl.concat_str(
        date,
        pl.lit("T"),
        hour,
        pl.lit(":"),
        pl.concat_str(clock[:2], separator=":"),
        rest,
        zone,
    )
    read = text.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False
    )
    return fields.select(read.to_physical() + over.cast(pl.Int64) * _DAY).to_series()
