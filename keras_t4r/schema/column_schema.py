"""One column of a session table."""

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from keras_t4r.arguments import whole_number
from keras_t4r.schema.domain import LARGEST_ID, PADDING_ID, Domain
from keras_t4r.schema.tags import TARGET_TAGS, Tags, plain_tag

DTYPES = ["float32", "int64", "string"]


def check_plain_names(columns):
    """Raises where a model would call two columns by one name.

    Args:
        columns: iterable of `ColumnSchema`.
    """
    names = {}
    for column in columns:
        # A SavedModel's signature tells no capitals from small letters.
        other = names.setdefault(column.plain_name.lower(), column.name)
        if other != column.name:
            raise ValueError(
                f"Columns {other!r} and {column.name!r} are both named "
                f"{column.plain_name!r} in a model, where TensorFlow allows letters, "
                "digits and _ only, and tells no capitals apart: rename one of them."
            )


@dataclass(frozen=True)
class ColumnSchema:
    """One column of a session table.

    A column with a `value_count` is a list: it has one value an event. A
    column without one holds a single value for the whole session. With an
    `event_count` an event has several values: a vector of numbers, or a bag of ids.

    Args:
        name: string. The column's name in the parquet files.
        dtype: string. `"int64"`, `"float32"` or `"string"`.
        tags: iterable of strings. See `Tags`; kept in lower case.
        domain: `Domain`. Ids (for categorical columns) or the range of a
            number. For ids, those below `domain.min` are special: 0 is
            padding, 1 (where `min` is 2) stands for unknown values.
        value_count: pair of ints. Least and most values of a list column; a most of 0
            says that it is not known.
        event_count: pair of ints. Least and most values of an event of a list column:
            the width twice for vectors, a most of 1 or more for bags. `None`: one.
        encoding: string. What tells how an ETL encoded the values: of ids the
            fingerprint of their vocabulary, of numbers what they were standardised by.
            `None` where that is not known. Columns that differ in it alone are equal,
            as are schemas that differ in their vocabularies.

    Raises:
        TypeError: the name is no text, the tags no list, the domain none, a count no
            pair of whole numbers, or the encoding no text.
        ValueError: there is no such dtype, the name or the domain is empty, the ids
            are not whole numbers of int32, a count has its ends swapped, or
            `event_count` does not go with the rest.

    Example:

    >>> ColumnSchema("item_id", tags=("item_id", "categorical"),
    ...              domain=Domain(2, 501, "item_id"), value_count=(1, 20))
    """

    name: str
    dtype: str = "int64"
    tags: tuple = ()
    domain: Domain | None = None
    value_count: tuple | None = None
    event_count: tuple | None = None
    encoding: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise TypeError(
                f"The name of a column is {self.name!r}; it should be text."
            )
        if not self.name:
            raise ValueError("A column of the schema has an empty name: name it.")
        if self.dtype not in DTYPES:
            raise ValueError(
                f"Column {self.name!r} has dtype {self.dtype!r}; use one of {DTYPES}."
            )
        tags = (self.tags,) if isinstance(self.tags, str) else self.tags
        if not isinstance(tags, Iterable):
            raise TypeError(
                f"The tags of column {self.name!r} are {tags!r}; they should be a list "
                "of texts."
            )
        if self.domain is not None and not isinstance(self.domain, Domain):
            raise TypeError(
                f"The domain of column {self.name!r} is {self.domain!r}; it should be "
                "a Domain, as Domain(2, 501)."
            )
        if self.encoding is not None and not isinstance(self.encoding, str):
            raise TypeError(
                f"The encoding of column {self.name!r} is {self.encoding!r}; it should "
                "be text, as an ETL's schema has it."
            )
        object.__setattr__(self, "tags", tuple(plain_tag(t) for t in tags))
        if self.domain is not None and self.domain.min > self.domain.max:
            raise ValueError(
                f"Column {self.name!r} has an empty domain: min {self.domain.min} "
                f"is above max {self.domain.max}."
            )
        if self.is_categorical:
            self._check_ids()
        if self.value_count is not None:
            count = self._checked_count("value_count")
            object.__setattr__(self, "value_count", count)
        if self.event_count is not None:
            count = self._checked_count("event_count")
            object.__setattr__(self, "event_count", count)
            self._check_event_count()

    def _check_ids(self):
        for end in (self.domain.min, self.domain.max):
            if not PADDING_ID <= end <= LARGEST_ID or end != int(end):
                raise ValueError(
                    f"The ids of column {self.name!r} reach from {self.domain.min} to "
                    f"{self.domain.max}; they should be whole numbers from "
                    f"{PADDING_ID} to {LARGEST_ID}: encode the column."
                )

    def _checked_count(self, argument):
        what, count = f"{argument} of column {self.name!r}", getattr(self, argument)
        if not isinstance(count, (list, tuple)) or len(count) != 2:
            raise TypeError(f"{what} is {count!r}; it should be a pair, (least, most).")
        least, most = (whole_number(what, value, least=0) for value in count)
        if 0 < most < least:
            raise ValueError(
                f"{what} is {count!r}: the least, {least}, is above the most, {most}."
            )
        return least, most

    def _check_event_count(self):
        what, (least, most) = f"event_count of column {self.name!r}", self.event_count
        if not self.is_list:
            raise ValueError(
                f"{what}: a session has no vector or bag, its events have; give the "
                "column a value_count."
            )
        if not (self.is_categorical or self.is_float):
            raise ValueError(
                f"{what}: the column has neither ids, for a bag, nor numbers, for a "
                "vector."
            )
        if most < 1 or (least != most and not self.is_categorical):
            raise ValueError(
                f"{what} is {self.event_count!r}; it should be the width twice for "
                "vectors, and end at 1 or more for bags."
            )

    @property
    def plain_name(self):
        """The name as TensorFlow allows it, for inputs, weights and tensors.

        Other characters than letters, digits and `_` are `_`; a name that begins with
        none of the letters has a `c` before it; a word that is Python's own (`class`,
        `None`, `self`) has a `_` behind it.
        """
        plain = re.sub(r"[^A-Za-z0-9_]", "_", self.name)
        plain = plain if plain[0].isalpha() else f"c{plain}"
        # A signature's inputs are arguments of a method.
        return f"{plain}_" if keyword.iskeyword(plain) or plain == "self" else plain

    @property
    def is_list(self):
        return self.value_count is not None

    @property
    def is_vector(self):
        """Whether an event has a vector of numbers."""
        return self.event_count is not None and not self.is_categorical

    @property
    def is_bag(self):
        """Whether an event has a bag of ids."""
        return self.event_count is not None and self.is_categorical

    @property
    def shape(self):
        """Shape of a session's values, `None` for the events: `()`, `(None,)`, or
        `(None, most)` with the most values of an event."""
        if self.event_count is not None:
            return (None, self.event_count[1])
        return (None,) if self.is_list else ()

    @property
    def is_categorical(self):
        """Whether the column's values are ids, to be looked up in a table."""
        return (
            not {Tags.CATEGORICAL, Tags.ITEM_ID}.isdisjoint(self.tags)
            and self.dtype == "int64"
            and self.domain is not None
        )

    @property
    def is_continuous(self):
        """Whether the column's values are numbers that a model reads: it is so tagged,
        `continuous`, or, if they are vectors, `embedding`.

        Numbers may stand in a file for other ends, as times to split by; read as a
        feature, they would drown the others.
        """
        tagged = Tags.CONTINUOUS in self.tags
        if self.event_count is not None:
            tagged = tagged or Tags.EMBEDDING in self.tags
        return tagged and self.dtype != "string" and not self.is_categorical

    @property
    def is_float(self):
        """Whether batches hold the column as float32: numbers, features or not."""
        return self.dtype == "float32" or self.is_continuous

    @property
    def is_target(self):
        """Whether a model is to predict the column: it is then never an input."""
        return not TARGET_TAGS.isdisjoint(self.tags)

    @property
    def is_timestamp(self):
        """Whether the column says when events happened: for bodies that read times."""
        return self.dtype == "float32" and Tags.TIMESTAMP in self.tags

    @property
    def cardinality(self):
        """Rows of the column's embedding table: its highest id plus one."""
        if self.domain is None:
            raise ValueError(
                f"Column {self.name!r} has no domain, so its number of ids is not "
                "known; give it one in the schema."
            )
        return int(self.domain.max) + 1

    @property
    def first_id(self):
        """The lowest id that stands for a real value."""
        return max(int(self.domain.min), PADDING_ID + 1)

    @property
    def lowest_id(self):
        """The lowest id that an event or a session may have: 0 is padding, but for a
        column of other ids than the items', whose domain holds it."""
        plain = self.domain.min == PADDING_ID and Tags.ITEM_ID not in self.tags
        return PADDING_ID if plain else PADDING_ID + 1

    @property
    def table_name(self):
        """Columns with the same table name share one embedding table."""
        return (self.domain and self.domain.name) or self.name
