"""The arrays of one batch, column by column."""

import numpy as np

from keras_t4r.data.loader.padding import event_cells, pad


class SessionBatch:
    """Some sessions as arrays of equal height, those with events of equal width.

    Args:
        sessions: `Sessions`.
        rows: int array `(batch,)`. Which of them.
        time: int. Width of columns with one value an event.
        multiple: int. Empty sessions (all 0) fill the batch up to a multiple of it.
    """

    def __init__(self, sessions, rows, time, multiple=1):
        self._table = sessions.table
        self._rows = sessions.rows[rows]
        begin, length = sessions.begin[rows], sessions.length[rows]
        self._next = begin + length
        self._empty = -len(rows) % multiple
        self._shape = len(rows) + self._empty, time
        self._source, self._cells = event_cells(begin, length, time)

    def column(self, name):
        """`(batch, time, …)` of a list column, padded with 0, or `(batch,)`."""
        if name in self._table.lists:
            values = self._table.lists[name]
            return pad(values, self._source, self._cells, self._shape)
        return self._fill(self._table.scalars[name][self._rows])

    def next(self, name):
        """Values `(batch,)` of the event that comes after the inputs."""
        return self._fill(self._table.lists[name][self._next])

    def session_ids(self):
        """Session ids `(batch,)`, as they stand in the file."""
        if self._table.keys is None:
            raise ValueError(
                "These sessions carry no session id: the schema tags no column "
                "as session_id, or the files lack it."
            )
        keys = self._table.keys.take(self._rows)
        # Among integers NumPy has no null.
        gaps = keys.null_count > 0
        keys = np.array(keys.to_pylist(), object) if gaps else keys.to_numpy()
        return self._fill(keys, "" if keys.dtype == object else 0)

    def weights(self, name=None):
        """Weights `(batch,)`, 0 for empty sessions; without a column 1 for others."""
        if name is None:
            return self._fill(np.ones(len(self._rows), np.float32))
        return self.column(name).astype(np.float32)

    def _fill(self, values, value=0):
        if not self._empty:
            return values
        return np.concatenate(
            [values, np.full((self._empty, *values.shape[1:]), value, values.dtype)]
        )
