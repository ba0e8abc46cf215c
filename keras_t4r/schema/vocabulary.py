"""The raw values of one column and their ids."""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_t4r.schema import UNKNOWN_ID

FIRST_ID = UNKNOWN_ID + 1

# Values for each entry of the vocabulary, inverted, where hashing starts to pay.
_BINARY_SEARCH_BELOW = 8


class Vocabulary:
    """Raw values ↔ ids: 0 padding, 1 unknown, 2… from most to least frequent.

    Args:
        name: string. The column.
        values: polars `Series`, int64 or string. Values of ids 2, 3, ….
        counts: polars `Series`, int64. How often each was seen.
    """

    def __init__(self, name, values, counts):
        self.name = name
        self.values = values.alias("value")
        self.counts = counts.cast(pl.Int64).alias("count")
        order = self.values.arg_sort()
        self._sorted = self.values.gather(order)
        self._ids = order.to_numpy().astype(np.int32) + FIRST_ID

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
        return cls(name, counts["value"], counts["count"])

    def __len__(self):
        return len(self.values)

    @property
    def last_id(self):
        return FIRST_ID + len(self) - 1

    def encode(self, values):
        """Ids of raw values; 1 for null and for values not seen."""
        if len(values) * _BINARY_SEARCH_BELOW < len(self):
            places, known = self._search(values)
        else:
            places, known = self._look_up(values)
        return np.where(known, self._ids[places], UNKNOWN_ID).astype(np.int32)

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
        """Raw values of ids, in an object array; `None` for padding and unknown."""
        ids = np.asarray(ids)
        if not np.issubdtype(ids.dtype, np.integer):
            raise TypeError(f"Ids are integers; these are {ids.dtype}.")
        if ids.size and (ids.min() < 0 or ids.max() > self.last_id):
            raise ValueError(
                f"The ids of column {self.name!r} lie between 0 and "
                f"{self.last_id}; these reach from {ids.min()} to {ids.max()}."
            )
        flat = np.maximum(ids.reshape(-1) - FIRST_ID, 0)
        raw = np.array(self.values.gather(flat).to_list(), dtype=object)
        raw[ids.reshape(-1) < FIRST_ID] = None
        return raw.reshape(ids.shape)

    def save(self, path, **more):
        """Writes `value` and `count`, and more columns of the same length."""
        columns = {"value": arrow(self.values), "count": arrow(self.counts)}
        pq.write_table(pa.table({**columns, **more}), path)


def arrow(series):
    """A polars series as an Arrow array; text as `string`."""
    array = series.to_arrow()
    return array.cast(pa.string()) if series.dtype == pl.String else array
