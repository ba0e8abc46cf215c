"""Sessions in memory: Arrow's values and offsets, checked, as flat numpy arrays."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from keras_t4r.data.loader.arrow_layouts import one_array
from keras_t4r.data.loader.session_checks import ColumnReader


@dataclass(frozen=True)
class SessionTable:
    """Sessions as flat arrays.

    Args:
        offsets: int64 array `(sessions + 1,)`. Session `i` holds the events
            `offsets[i], …, offsets[i + 1] - 1`.
        lists: dict of arrays `(events,)`. One value an event, int32 or float32.
        scalars: dict of arrays `(sessions,)`. One value a session.
        keys: `pyarrow.ChunkedArray` or `None`. The session ids as they stand
            in the file.
    """

    offsets: np.ndarray
    lists: dict
    scalars: dict
    keys: pa.ChunkedArray | None

    def __len__(self):
        return len(self.offsets) - 1

    @classmethod
    def from_pieces(cls, pieces):
        """Joins the pieces of one or more files, in order.

        Args:
            pieces: list of `SessionPiece`, each emptied as it is copied, so that
                no more than one column is in memory twice.
        """
        lengths = np.concatenate([piece.lengths for piece in pieces])
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        keys = None
        if pieces[0].keys is not None:
            # Files may hold them as int32 and int64: Arrow finds what holds both.
            parts = [pa.table({"keys": piece.keys}) for piece in pieces]
            keys = pa.concat_tables(parts, promote_options="permissive")["keys"]
        return cls(
            offsets,
            {name: _join(pieces, "lists", name) for name in list(pieces[0].lists)},
            {name: _join(pieces, "scalars", name) for name in list(pieces[0].scalars)},
            keys,
        )


@dataclass
class SessionPiece:
    """Part of a `SessionTable`, as one row group gives it."""

    lengths: np.ndarray
    lists: dict
    scalars: dict
    keys: pa.Array | None

    @classmethod
    def from_arrow(cls, table, schema, names, where, first_row=0, weight=None):
        """Checks an Arrow table and takes it apart.

        Args:
            table: `pyarrow.Table`. Its columns are `names`, and the session id
                where there is one.
            schema: `Schema`. What the columns are meant to be.
            names: list of strings. The feature columns to keep.
            where: string. What to call the table in errors.
            first_row: int. Rows of the file before the table.
            weight: string or `None`. Which column holds weights.

        Raises:
            TypeError: a column has a type that the schema does not allow.
            ValueError: a value is not allowed; the message names its row.
        """
        reader = ColumnReader(where, first_row)
        lengths, lists, scalars, key = None, {}, {}, None
        item = schema.item_id
        # The item column first: its lengths are the measure of the others.
        for name in sorted(names, key=lambda name: name != item):
            column, array = schema[name], one_array(table[name])
            if not column.is_list:
                scalars[name] = reader.scalar_column(array, column, name == weight)
                continue
            own, lists[name] = reader.list_column(array, column)
            if lengths is None:
                lengths = own
            reader.same_lengths(own, lengths, column, item)
        if schema.session_id in table.column_names:
            key = one_array(table[schema.session_id])
        return cls(lengths, lists, scalars, key)


def _join(pieces, group, name):
    return np.concatenate([getattr(piece, group).pop(name) for piece in pieces])
