"""The raw values of one column and their ids."""

import hashlib
import json
import weakref

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from keras_t4r.arguments import whole_number
from keras_t4r.arrays import off_device
from keras_t4r.files import as_path, new_file
from keras_t4r.files.parquet import read_parquet, write_parquet
from keras_t4r.schema.domain import LARGEST_ID, PADDING_ID, UNKNOWN_ID
from keras_t4r.schema.raw_values import read_counts, read_values

FIRST_ID = UNKNOWN_ID + 1

# Values for each entry of the vocabulary, inverted, where hashing starts to pay.
_BINARY_SEARCH_BELOW = 8
_METADATA = b"keras_t4r.vocabulary"


class Vocabulary:
    """Raw values ↔ ids: the one way from a click log's values to ids and back.

    Row r of the values has id `first_id + r`. The ids below `first_id` are special:
    0 is padding, and `unknown_id` stands for null and for values that are not here.

    `encode` and `decode` cost what they are asked for, not what the vocabulary holds:
    values are found by binary search (for many at once by hashing), ids by their row.

    Args:
        values: int or text values: polars `Series`, pyarrow array, numpy array or
            list. No two are equal, none is null.
        counts: ints, one a value, or `None`. How often each was seen.
        first_id: int. Id of the first value: 2 for an ETL of this package, 1 where
            there is no id for unknown values (the tutorial's data of
            Transformers4Rec), 3 for NVTabular, which has one for null and one for
            unknown.
        name: string. What errors call the column.

    Example:

    >>> vocabulary = Vocabulary(["b", "a"])
    >>> vocabulary.encode(["a", "b", "never seen"])
    array([3, 2, 1], dtype=int32)
    >>> vocabulary.decode([[3, 0]])
    array([['a', None]], dtype=object)
    >>> vocabulary.extend(["c", "a"]).encode(["a", "b", "c"])
    array([3, 2, 4], dtype=int32)

    Raises:
        TypeError: values are neither integers nor text, counts no integers, or
            `first_id` no whole number.
        ValueError: a value is null or stands twice, a count is null or below 0, or an
            id is below 1 or beyond int32.
    """

    def __init__(self, values, counts=None, first_id=FIRST_ID, name="value"):
        self.name = name
        self.values = read_values(values, name).alias("value")
        self.first_id = whole_number(
            f"first_id of column {name!r}",
            first_id,
            least=PADDING_ID + 1,
            most=LARGEST_ID + 1 - max(len(self.values), 1),
        )
        if not len(self.values):
            raise ValueError(
                f"The vocabulary of column {name!r} has no values; leave the column "
                "out."
            )
        if self.values.null_count():
            raise ValueError(
                f"Value {self.values.is_null().arg_max()} of the vocabulary of column "
                f"{name!r} is null; null has no id of its own, leave it out."
            )
        self.counts = None
        if counts is not None:
            self.counts = read_counts(counts, len(self.values), name)
        order = self.values.arg_sort()
        self._sorted = self.values.gather(order)
        self._rows = order.to_numpy().astype(np.int32)
        twice = self._sorted[1:].filter(self._sorted[1:] == self._sorted[:-1])
        if len(twice):
            raise ValueError(
                f"Value {twice[0]!r} stands twice in the vocabulary of column "
                f"{name!r}; a value has one id."
            )
        self._fingerprints = {}

    @classmethod
    def from_counts(cls, name, counts, min_count=1):
        """Ranks values by count; ties by the value, ascending.

        Args:
            name: string. The column.
            counts: polars `DataFrame`. Columns `value` and `count`.
            min_count: int. Rarer values stay unknown.
        """
        counts = counts.filter(
            pl.col("value").is_not_null() & (pl.col("count") >= min_count)
        ).sort("count", "value", descending=[True, False])
        if counts.is_empty():
            raise ValueError(
                f"No value of column {name!r} occurs {min_count} times or more; "
                "leave the column out, or lower min_count."
            )
        return cls(counts["value"], counts["count"], name=name)

    # What it holds

    def __len__(self):
        return len(self.values)

    def __eq__(self, other):
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self is other or self.fingerprint == other.fingerprint

    def __hash__(self):
        return hash(self.fingerprint)

    def __repr__(self):
        return (
            f"<Vocabulary of {self.name!r}: {len(self)} values, ids {self.first_id} "
            f"to {self.last_id}>"
        )

    @property
    def dtype(self):
        """`"int64"` or `"string"`, of the raw values."""
        return "string" if self.values.dtype == pl.String else "int64"

    @property
    def last_id(self):
        return self.first_id + len(self) - 1

    @property
    def unknown_id(self):
        """The id of null and of values that are not here; `None` where there is none.

        It is the one after padding, and NVTabular's second: its first is for null.
        """
        return min(self.first_id - 1, UNKNOWN_ID + 1) or None

    def counts_by_id(self):
        """How often each id was seen, such as samplers of negatives take it.

        Returns:
            A float64 array `(last_id + 1,)`; 0 for the ids that stand for no value.

        Raises:
            ValueError: the vocabulary has no counts.
        """
        if self.counts is None:
            raise ValueError(
                f"The vocabulary of column {self.name!r} has no counts: an ETL writes "
                "them, and Vocabulary(values, counts) takes them."
            )
        return np.concatenate([np.zeros(self.first_id), self.counts.to_numpy()])

    # Values ↔ ids

    def encode(self, values):
        """Ids of raw values.

        Args:
            values: flat: polars `Series`, pyarrow array, numpy array or list.

        Returns:
            int32 array; `unknown_id` for null and for values that are not here.

        Raises:
            TypeError: the values are of another type than the vocabulary's.
            ValueError: a value is not here, and there is no id for unknown ones: to
                take it for padding would lose an event, and to take it for another
                value would be wrong.
        """
        values = self._cast(values)
        rows, known = self._find(values)
        if self.unknown_id is None and not known.all():
            value = values[int(np.argmin(known))]
            raise ValueError(
                f"Column {self.name!r} holds {value!r}, which is not among the "
                f"{len(self)} values of its vocabulary; that has no id for unknown "
                "values: leave such events out."
            )
        unknown = PADDING_ID if self.unknown_id is None else self.unknown_id
        return np.where(known, self._rows[rows] + self.first_id, unknown).astype(
            np.int32
        )

    def holds(self, values):
        """Which of raw values are here, as a bool array; for arguments see `encode`."""
        return self._find(self._cast(values))[1]

    def _cast(self, values):
        try:
            series = read_values(values, self.name)
        except TypeError as error:
            raise TypeError(f"{error} Its vocabulary holds {self.dtype}.") from error
        if series.dtype != self.values.dtype and series.null_count() == len(series):
            return pl.Series([None] * len(series), dtype=self.values.dtype)
        if series.dtype != self.values.dtype:
            held = "string" if series.dtype == pl.String else "int64"
            raise TypeError(
                f"Column {self.name!r} holds values of type {held}; its vocabulary "
                f"holds {self.dtype}."
            )
        return series

    def _find(self, values):
        """Places of values among the sorted ones, and which are there."""
        if len(values) * _BINARY_SEARCH_BELOW < len(self):
            return self._search(values)
        return self._look_up(values)

    def _search(self, values):
        """A binary search, so that a request need not hash the vocabulary."""
        places = self._sorted.search_sorted(values).to_numpy()
        places = np.minimum(places, len(self) - 1)
        known = self._sorted.gather(places) == values
        return places, known.fill_null(False).to_numpy()

    def _look_up(self, values):
        """A hash table, made and thrown away; best for many values."""
        places = pc.index_in(arrow(values), value_set=arrow(self._sorted))
        known = places.is_valid().to_numpy(zero_copy_only=False)
        return places.fill_null(0).to_numpy(), known

    def decode(self, ids):
        """Raw values of ids.

        Args:
            ids: int array, of any shape.

        Returns:
            Object array of the same shape; `None` for padding and unknown ids.
        """
        ids, rows = self._rows_of(ids)
        raw = np.array(self.values.gather(rows).to_list(), dtype=object)
        raw[ids.reshape(-1) < self.first_id] = None
        return raw.reshape(ids.shape)

    def decode_filled(self, ids, filler):
        """As `decode`, but integers as an int64 array, with `filler` for no value."""
        if self.dtype == "string":
            return self.decode(ids)
        ids, rows = self._rows_of(ids)
        raw = self.values.gather(rows).to_numpy().reshape(ids.shape)
        return np.where(ids < self.first_id, filler, raw)

    def _rows_of(self, ids):
        ids = off_device(f"The array of ids of column {self.name!r}", ids)
        try:
            ids = np.asarray(ids)
        except ValueError as error:
            raise ValueError(
                f"The ids of column {self.name!r} are rows of several lengths: pad "
                f"them with {PADDING_ID}."
            ) from error
        if not ids.size:
            ids = ids.astype(np.int32)
        if ids.dtype.kind not in "iu":
            raise TypeError(f"Ids are integers; these are {ids.dtype}.")
        if ids.size and (ids.min() < 0 or ids.max() > self.last_id):
            raise ValueError(
                f"The ids of column {self.name!r} lie between 0 and "
                f"{self.last_id}; these reach from {ids.min()} to {ids.max()}."
            )
        return ids, np.maximum(ids.reshape(-1).astype(np.int64) - self.first_id, 0)

    def extend(self, values, counts=None):
        """A vocabulary with unseen values at its end; ids once given stay.

        Args:
            values: as for `encode`; values may repeat, nulls are passed over.
            counts: ints, one a value. How often each was seen, in addition to what
                this vocabulary has counted. By default as often as it stands in
                `values`.

        Returns:
            A `Vocabulary`: unseen values follow in the order of `values`. It is this
            one where `values` holds none at all.

        Raises:
            TypeError: values or counts are of another type.
            ValueError: there are counts, but this vocabulary has none of its own; or
                they are not one a value, or null or below 0.
        """
        values = self._cast(values)
        if counts is not None and self.counts is None:
            raise ValueError(
                f"The vocabulary of column {self.name!r} has no counts, so those of "
                "new values would stand alone; extend it without counts."
            )
        new = pl.DataFrame(
            {
                "value": values,
                "count": 1
                if counts is None
                else read_counts(counts, len(values), self.name),
            }
        )
        seen = new.filter(pl.col("value").is_not_null())
        if self.dtype == "string":
            seen = seen.filter(pl.col("value") != "")
        if seen.is_empty():
            return self
        seen = seen.group_by("value", maintain_order=True).agg(pl.col("count").sum())
        rows, known = self._look_up(seen["value"])
        added = seen.filter(~pl.Series(known, dtype=pl.Boolean))
        total = None
        if self.counts is not None:
            total = self.counts.to_numpy().copy()
            total[self._rows[rows[known]]] += seen["count"].to_numpy()[known]
            total = np.concatenate([total, added["count"].to_numpy()])
        longer = pl.concat([self.values, added["value"].alias("value")])
        return Vocabulary(longer, total, self.first_id, self.name)

    # Telling vocabularies apart

    @property
    def fingerprint(self):
        """A text that tells what the ids mean: equal for equal values and `first_id`.

        It begins with the number of values, so that `covers` can tell whether a
        vocabulary was extended from it.
        """
        return self._fingerprint(len(self))

    def _fingerprint(self, size):
        if size not in self._fingerprints:
            digest = hashlib.sha256(f"{self.dtype} {self.first_id}\n".encode())
            values = self.values[:size].rechunk()
            if self.dtype == "string":
                # Lengths and text: where the text of a value ends, counts too.
                array = pa.concat_arrays([values.to_arrow().cast(pa.large_string())])
                lengths = pc.binary_length(array).to_numpy(zero_copy_only=False)
                digest.update(lengths.astype("<i8").tobytes())
                offsets = np.frombuffer(array.buffers()[1], np.int64)
                begin, end = (int(offsets[array.offset + i]) for i in (0, len(array)))
                digest.update(memoryview(array.buffers()[2] or b"")[begin:end])
            else:
                digest.update(values.to_numpy().astype("<i8").tobytes())
            self._fingerprints[size] = f"{size}-{digest.hexdigest()[:32]}"
            if size == len(self):
                alive = _LIVING.setdefault(
                    self._fingerprints[size], weakref.WeakValueDictionary()
                )
                alive[id(self)] = self
        return self._fingerprints[size]

    def covers(self, fingerprint):
        """Whether ids of the vocabulary with that fingerprint mean the same here.

        They do if it is this one, or one that this was extended from.
        """
        size = size_of(fingerprint)
        if not 0 < size <= len(self):
            return False
        return self._fingerprint(size) == fingerprint

    @staticmethod
    def living(fingerprint):
        """The vocabulary of that fingerprint in this process, or `None`.

        Vocabularies are found here as long as something else holds them: one that
        was loaded, saved or compared since.
        """
        return next(iter(_LIVING.get(fingerprint, {}).values()), None)

    # Files

    def save(self, path):
        """Writes a parquet file with the columns `value` and, if known, `count`."""
        with new_file(path) as temporary:
            write_parquet(self.to_table(), temporary)

    @classmethod
    def load(cls, path, first_id=None, name=None):
        """Reads what `save` wrote, or any parquet file with a column `value`.

        Args:
            path: path.
            first_id: int. What the file's must be; needed where it says nothing.
            name: string. The column; by default the file's name.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError: it is no path, or the file has values or counts of another type.
            ValueError: it is not a whole vocabulary, or of another `first_id`.
        """
        path = as_path(path, "a vocabulary")
        if not path.is_file():
            raise FileNotFoundError(f"There is no vocabulary at {path}.")
        table = read_parquet(path)
        return cls.from_table(table, first_id, name or path.stem, where=str(path))

    def to_table(self):
        """As a `pyarrow.Table`, whose metadata hold `first_id` and `fingerprint`."""
        columns = {"value": arrow(self.values)}
        if self.counts is not None:
            columns["count"] = arrow(self.counts)
        about = {
            "first_id": self.first_id,
            "fingerprint": self.fingerprint,
            "counted": self.counts is not None,
        }
        metadata = {_METADATA: json.dumps(about).encode()}
        return pa.table(columns).replace_schema_metadata(metadata)

    @classmethod
    def from_table(cls, table, first_id=None, name="value", where="the table"):
        """The vocabulary of `to_table`; columns of other names are passed over.

        Raises:
            TypeError, ValueError: as of `load`; they begin with `where`.
        """
        if not isinstance(table, pa.Table):
            raise TypeError(
                f"{where} of a vocabulary is a {type(table).__name__}; it should be a "
                "pyarrow.Table."
            )
        if "value" not in table.column_names:
            raise ValueError(
                f"{where} has no column 'value', so it is no vocabulary; it has "
                f"{table.column_names}."
            )
        try:
            about = dict(
                json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
            )
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"The metadata of {where} are damaged: write it again."
            ) from error
        if first_id is None:
            first_id = about.get("first_id", FIRST_ID)
        if about.get("first_id", first_id) != first_id:
            raise ValueError(
                f"The ids of {where} begin at {about['first_id']}, those of column "
                f"{name!r} at {first_id}; use the schema and vocabularies of one ETL."
            )
        if about.get("counted") and "count" not in table.column_names:
            raise ValueError(
                f"{where} has lost its column 'count', it has {table.column_names}: "
                "write it again."
            )
        counts = None
        if "count" in table.column_names:
            counts = table["count"]
        try:
            vocabulary = cls(table["value"], counts, first_id, name)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}: {error}") from error
        expected = about.get("fingerprint")
        if expected is not None and vocabulary.fingerprint != expected:
            raise ValueError(
                f"{where} was changed after it was written: its values are not those "
                "of its fingerprint. Write it again."
            )
        return vocabulary


# By fingerprint, so that a layer's config need not hold the values.
_LIVING = {}


def size_of(fingerprint):
    """How many values the vocabulary of a fingerprint has; 0 where it is none."""
    size = fingerprint.partition("-")[0]
    return int(size) if size.isdecimal() and size.isascii() else 0


def arrow(series):
    """A polars series as an Arrow array; text as `string`."""
    array = series.to_arrow()
    return array.cast(pa.string()) if series.dtype == pl.String else array
