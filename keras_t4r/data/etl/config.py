"""What an ETL is told: which columns play which part, and how to cut sessions."""

import re
from dataclasses import dataclass, fields

from keras_t4r.arguments import names, one_of, truth, whole_number
from keras_t4r.data.clicks.times import MICROSECONDS
from keras_t4r.data.etl.time_features import TIME_FEATURES
from keras_t4r.files import PLAIN, is_plain
from keras_t4r.schema.column_schema import ColumnSchema, check_plain_names

RECENCY = "recency_log_norm"
WINDOW, LENGTH, START = "window", "length", "start"
# What answers call their scores, beside sessions and items.
SCORES = "scores"

_UNITS = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


@dataclass(frozen=True)
class ETLConfig:
    """The arguments of `SessionETL`, checked; see there for what they mean."""

    session: str
    time: str
    item: str
    categorical: tuple = ()
    continuous: tuple = ()
    context_categorical: tuple = ()
    context_continuous: tuple = ()
    time_unit: str | None = None
    drop_repeats: bool = True
    time_features: tuple = ("dayofweek_sin",)
    recency: bool = True
    min_count: int = 1
    min_length: int = 2
    max_length: int = 20
    window: str = "1d"

    def __post_init__(self):
        for field in fields(self):
            if field.type is tuple:
                value = names(field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)
            elif field.type is str and not isinstance(getattr(self, field.name), str):
                raise TypeError(
                    f"{field.name} is {getattr(self, field.name)!r}; it should be text."
                )
            elif field.type is bool:
                value = truth(field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)
        # None is for text and datetimes.
        one_of("time_unit", self.time_unit, [*MICROSECONDS, None])
        for name in self.time_features:
            if name not in TIME_FEATURES:
                raise ValueError(
                    f"There is no time feature {name!r}; there are "
                    f"{sorted(TIME_FEATURES)}."
                )
        for name in ("min_count", "min_length", "max_length"):
            whole_number(name, getattr(self, name))
        if not 1 <= self.min_length <= self.max_length:
            raise ValueError(
                f"min_length is {self.min_length} and max_length "
                f"{self.max_length}; they should be 1 ≤ min_length ≤ max_length."
            )
        _parse_window(self.window)
        taken = [*self.raw_columns, *self.time_features, WINDOW, LENGTH, START]
        taken += [RECENCY] if self.recency else []
        for name in taken:
            if taken.count(name) > 1:
                raise ValueError(
                    f"The column name {name!r} stands for two things; every raw "
                    "column plays one part, and derived names are taken: "
                    f"{[*self.derived, WINDOW, LENGTH, START]}."
                )
            if not is_plain(name) or name.startswith("__"):
                raise ValueError(
                    f"The column name {name!r} cannot name a file ({PLAIN}, nor two "
                    "underscores): rename it."
                )
            if name == SCORES and name in (self.session, self.item):
                raise ValueError(
                    f"The column name {name!r} is what answers call the scores of "
                    "items, beside sessions and items: rename it."
                )
            if name == "*" or (name.startswith("^") and name.endswith("$")):
                raise ValueError(
                    f"The column name {name!r} is a pattern of names for polars; "
                    "rename it."
                )
        read = (*self.ids, *self.numbers, *self.derived)
        check_plain_names(ColumnSchema(name) for name in read)

    @property
    def ids(self):
        """Columns with a vocabulary."""
        return (self.item, *self.categorical, *self.context_categorical)

    @property
    def numbers(self):
        return (*self.continuous, *self.context_continuous)

    @property
    def derived(self):
        return (*self.time_features, *((RECENCY,) if self.recency else ()))

    @property
    def raw_columns(self):
        """What clicks need to have, in the order of the output."""
        return (self.session, self.time, *self.ids, *self.numbers)

    @property
    def window_parts(self):
        """Length of a window and of its unit, in microseconds."""
        return _parse_window(self.window)


def _parse_window(window):
    match = re.fullmatch(r"([1-9]\d*)([mhd])", str(window))
    if not match:
        raise ValueError(
            f"window is {window!r}; use a number and a unit out of m, h and d, "
            'such as "1d" or "12h".'
        )
    unit = _UNITS[match[2]]
    return int(match[1]) * unit, unit
