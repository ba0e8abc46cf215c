"""One column of values of any kind, as a polars `Series`: one rule for all tables."""

import datetime
import decimal
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from keras_t4r.arrays import as_array
from keras_t4r.files.sentences import first_line
from keras_t4r.schema.plain_numbers import plain_numbers
from keras_t4r.schema.raw_values import is_too_wide

# What a log calls the numbers of its rows.
ROW = "__row"

# Beyond, floats of so many bits stand for several whole numbers each.
_EXACT = {pl.Float16: 2**11, pl.Float32: 2**24, pl.Float64: 2**53}
_INTEGERS, _FLOATS = (int, np.integer), (float, np.floating, decimal.Decimal)
_BOOLEANS, _TEXTS = (bool, np.bool_), (str, bytes)
_POLARS_TIMES = ("datetime64[ms]", "datetime64[us]", "datetime64[ns]")
_TIMES = (datetime.date, np.datetime64)
# Types of what says that there is no value, in pandas and in masked arrays.
_GAPS = ("NAType", "NaTType", "MaskedConstant")
# What polars ends in where values are of kinds that it has no column for.
_NO_SERIES = (
    TypeError,
    ValueError,
    OverflowError,
    AttributeError,
    NotImplementedError,
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)


def as_series(name, values, whole=True):
    """Values as a polars `Series`, in which null, NaN, NA, NaT and masked are null.

    Args:
        name: string.
        values: polars, pyarrow or pandas column, numpy array, or any iterable.
        whole: bool. Whether whole floats of numpy and pandas become integers, for these
            write integers with a gap among them so. Those that are too large to be
            exact do not.

    Raises:
        TypeError: the values are of several types, or of one that cannot be read.
        ValueError: an array has several values a click, or bytes are no UTF-8.
    """
    if isinstance(values, pl.Series):
        return values.alias(name)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        check_arrow(name, values.type, "the clicks")
        _check_seconds(name, values)
        return pl.from_arrow(values).alias(name)
    if type(values).__module__.split(".")[0] == "pandas":
        column = _of_pandas(name, values)
    elif hasattr(values, "__array__"):  # Also tensors, as of JAX or PyTorch.
        if not isinstance(values, np.ndarray):
            values = as_array(f"Column {name!r}", values)
        column = _of_numpy(name, values)
    else:
        return _of_values(name, list(values))
    return _whole(column) if whole else column


def check_column(name, values):
    """Raises where something is no column at all; returns it, with a length."""
    if isinstance(values, str | bytes | dict | set) or not isinstance(values, Iterable):
        raise TypeError(
            f"Column {name!r} of the clicks is of type {type(values).__name__}; give a "
            "list or an array of one value a click."
        )
    if isinstance(values, Iterator):
        raise TypeError(
            f"Column {name!r} of the clicks is a {type(values).__name__}, which can be "
            "read only once: pass a list of it."
        )
    if isinstance(values, np.ndarray):
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise ValueError(
                f"Column {name!r} has shape {values.shape}; it should hold one "
                "value a click."
            )
    return values if hasattr(values, "__len__") else list(values)


def check_int64(frame, kinds, source):
    """Raises where an integer is beyond int64.

    Args:
        frame: polars `LazyFrame`, with the row number that `ClickLog.scan` gives.
        kinds: dict. The kind of each column.
        source: `ClickLog` or `ClickTable`.
    """
    schema = frame.collect_schema()
    for column in [c for c, kind in kinds.items() if kind == "int64"]:
        if schema[column] not in (pl.UInt64, pl.Int128, pl.UInt128):
            continue
        value = pl.col(column)
        beyond = frame.filter(value.cast(pl.Int64, strict=False).is_null())
        beyond = beyond.filter(value.is_not_null()).head(1).collect()
        if beyond.height:
            raise ValueError(
                f"Column {column!r} of {source} holds {beyond[column][0]} in "
                f"{source.place(beyond[ROW][0])}, which is beyond 64 bits with a sign: "
                "give the column as text."
            )


def check_arrow(name, kind, where):
    """Raises where polars has no type for one of Arrow's."""
    if not _is_known(kind):
        raise TypeError(
            f"Column {name!r} of {where} is of Arrow's type {kind}, which cannot be "
            "read: cast it to integers, floats, text or timestamps first."
        )


def _is_known(kind):
    if is_too_wide(kind):
        return False
    try:
        pl.from_arrow(pa.chunked_array([], type=kind))
    except _NO_SERIES:
        return False
    return True


def _check_seconds(name, times):
    """Of seconds polars makes milliseconds: too many of them would begin again."""
    if not pa.types.is_timestamp(times.type) or times.type.unit != "s":
        return
    ends = pc.min_max(times.cast(pa.int64())).as_py().values()
    if any(end is not None and abs(end) > 2**63 // 1000 for end in ends):
        raise _far(name, times.type)


def _of_pandas(name, values):
    import pandas as pd

    values = pd.Series(values)
    kind = str(values.dtype)
    if kind == "object":
        return _of_values(name, values.tolist())
    if kind.startswith("Sparse"):
        return _of_numpy(name, np.asarray(values))
    if kind.startswith(("datetime64[s", "timestamp[s")):
        _check_seconds(name, pa.Array.from_pandas(values))
    try:
        return pl.from_pandas(values, nan_to_null=True).alias(name)
    except _NO_SERIES as error:
        raise _unreadable(name, f"pandas' type {kind}", error) from error


def _of_numpy(name, values):
    if values.dtype.kind in "OSUT" or isinstance(values, np.ma.MaskedArray):
        return _of_values(name, values.tolist())
    if values.dtype.kind == "M" and str(values.dtype) not in _POLARS_TIMES:
        values = _in_microseconds(name, values)
    try:
        column = pl.Series(name, values, nan_to_null=True)
    except _NO_SERIES as error:
        raise _unreadable(name, f"numpy's type {values.dtype}", error) from error
    if column.dtype == pl.Object:
        raise _unreadable(name, f"numpy's type {values.dtype}")
    return column


def _in_microseconds(name, times):
    if np.datetime_data(times.dtype)[0] in ("ps", "fs", "as"):
        return times.astype("datetime64[us]")
    try:
        found = times.astype("datetime64[us]")
    except OverflowError:
        found = np.zeros_like(times)
    # An older numpy lets what is too large begin again at the other end.
    years = found.astype("datetime64[Y]"), times.astype("datetime64[Y]")
    if not (np.equal(*years) | np.isnat(times)).all():
        raise _far(name, times.dtype)
    return found


def _far(name, kind):
    return ValueError(
        f"Column {name!r} holds times of {kind} that lie too far from 1970; is their "
        "unit right?"
    )


def _unreadable(name, kind, error=None):
    said = f" ({first_line(error)})" if error else ""
    return TypeError(
        f"Column {name!r} is of {kind}, which cannot be read{said}: cast it "
        "to integers, floats, text or datetimes first."
    )


def _whole(column):
    """Floats as integers, where all are whole and none stands for several."""
    if column.dtype not in _EXACT:
        return column
    if column.null_count() == len(column):
        return pl.Series(column.name, [None] * len(column))
    limit = _EXACT[column.dtype]
    exact = (column.abs() < limit) & (column == column.round())
    return column.cast(pl.Int64) if exact.all() else column


def _of_values(name, values):
    """A list of Python's or numpy's values, which have to be of one kind."""
    values, kinds = _without_gaps(values)

    def all_are(*allowed):
        return bool(kinds) and all(issubclass(kind, allowed) for kind in kinds)

    mixed = TypeError(f"Column {name!r} mixes values of several types.")
    # polars would take them for 0 and 1.
    if not kinds.isdisjoint(_BOOLEANS) and not all_are(*_BOOLEANS):
        raise mixed
    if all_are(*_INTEGERS) and not all_are(*_BOOLEANS):
        return _of_integers(name, values)
    try:
        if all_are(*_BOOLEANS):
            return pl.Series(name, values, dtype=pl.Boolean)
        if all_are(*_INTEGERS, *_FLOATS):
            return _of_numbers(name, values, kinds)
        if all_are(*_TEXTS):
            return pl.Series(name, _decoded(name, values, kinds))
        if all_are(*_TIMES) and kinds != {datetime.date}:
            values = [_datetime(value) for value in values]
        return pl.Series(name, values)
    except UnicodeDecodeError as error:
        raise ValueError(f"Column {name!r} holds bytes that are no UTF-8.") from error
    except _NO_SERIES as error:
        raise mixed from error


def _without_gaps(values):
    """The values with `None` for each that is none, and the types of the others."""
    kinds = set(map(type, values))
    # By name, for pandas need not be there.
    gaps = {kind for kind in kinds if kind.__name__ in _GAPS}
    unequal = {kind for kind in kinds if issubclass(kind, (float, np.floating))}
    unequal |= kinds & {decimal.Decimal, np.datetime64}
    if gaps or unequal:
        # Only NaN and NaT differ from themselves.
        values = [
            None
            if type(value) in gaps or (type(value) in unequal and value != value)
            else value
            for value in values
        ]
        kinds = set(map(type, values))
    return values, kinds - {type(None)}


def _of_numbers(name, values, kinds):
    floats = {kind for kind in kinds if issubclass(kind, _FLOATS)}
    coarse = all(kind in (np.float16, np.float32) for kind in floats)
    column = pl.Series(
        name,
        [None if value is None else float(value) for value in values],
        dtype=pl.Float64,
    )
    return column.cast(pl.Float32) if coarse else column


def _of_integers(name, values):
    """Those beyond int64 in a wider type, so that `check_int64` can name them."""
    values = plain_numbers(values)
    try:
        return pl.Series(name, values, dtype=pl.Int64)
    except (OverflowError, TypeError):
        pass
    known = [int(value) for value in values if value is not None]
    far = max(known, key=abs)
    if abs(far) >= 2**127:
        raise ValueError(
            f"Column {name!r} holds {far}, which is beyond 64 bits with a sign: give "
            "the column as text."
        )
    return pl.Series(name, values, dtype=pl.Int128)


def _decoded(name, values, kinds):
    if not any(issubclass(kind, bytes) for kind in kinds):
        return values
    return [v.decode() if isinstance(v, bytes) else v for v in values]


def _datetime(value):
    """Dates among datetimes are their midnights."""
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    elif value is not None and not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    return value
