"""Gives sessions by the buffer: all at once, or row groups in a seeded order."""

from dataclasses import dataclass

import numpy as np

from keras_t4r.data.loader.batch_plan import round_up_time, times_can_vary
from keras_t4r.data.loader.session_arrays import SessionTable
from keras_t4r.data.loader.session_files import SessionFiles


@dataclass(frozen=True)
class Sessions:
    """The sessions to give, and where their inputs lie in a table.

    Args:
        table: `SessionTable`.
        rows: int64 array `(sessions,)`. Their rows in the table.
        begin: int64 array `(sessions,)`. Position of the first input event.
        length: int32 array `(sessions,)`. Number of input events.
    """

    table: SessionTable
    rows: np.ndarray
    begin: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, table, schema, target, max_length, drop_unknown=False):
        """Drops the target from the inputs and keeps the newest of the rest."""
        end = table.offsets[1:]
        if target == "last":
            end = end - 1
            given = end > table.offsets[:-1]
            if drop_unknown:
                item = schema[schema.item_id]
                given &= table.lists[item.name][end] >= item.first_id
            rows = np.flatnonzero(given)
        else:
            rows = np.arange(len(table))
        end, length = end[rows], end[rows] - table.offsets[rows]
        length = np.minimum(length, max_length).astype(np.int32)
        return cls(table, rows, end - length, length)

    def __getitem__(self, span):
        return Sessions(
            self.table, self.rows[span], self.begin[span], self.length[span]
        )

    def __len__(self):
        return len(self.rows)


class SessionStream:
    """Reads the sessions of all files, a buffer at a time.

    Args:
        paths, schema, engine, target, max_length, shuffle, seed, drop_last: see
            `KerasSequenceLoader`.
        roles: `ColumnRoles`. The columns to read.
        drop_unknown: bool. Whether to leave out sessions whose target is no item.
        step: int. Sessions of a full batch, over all ranks.
        buffer_rows: int or `None`. Sessions to hold; rounded to whole batches,
            two at least.
    """

    def __init__(
        self,
        paths,
        schema,
        roles,
        *,
        engine,
        target,
        drop_unknown,
        max_length,
        step,
        buffer_rows,
        shuffle,
        seed,
        drop_last,
    ):
        self.schema, self.target, self.max_length = schema, target, max_length
        self.shuffle, self.seed = shuffle, seed
        self._drop_unknown = drop_unknown
        read = SessionFiles
        if engine == "merlin":
            from keras_t4r.data.loader.merlin_reader import MerlinFiles as read
        self.files = read(
            paths, schema, roles.read, roles.reads_session_ids, roles.sample_weight
        )
        if buffer_rows is None:
            self._sessions = self._read(self.files.parts)
            sizes = [len(self._sessions)]
            lengths = self._sessions.length
        else:
            self._sessions = None
            sizes, lengths = self._scan()
        self._sizes = np.array(sizes)
        self.num_sessions = int(self._sizes.sum())
        self.left_out = sum(p.rows for p in self.files.parts) - self.num_sessions
        if self.num_sessions == 0:
            raise ValueError(
                f"None of the {self.left_out} sessions has a target and an input "
                'before it, as target="last" asks for.'
            )
        self._choose_buffers(buffer_rows, step)
        self.times_can_vary = self._times_can_vary(lengths, step, drop_last)

    def _choose_buffers(self, buffer_rows, step):
        full = self.num_sessions // step
        if buffer_rows is None:
            self.buffer_batches = max(1, full)
        else:
            # Two at least: they have to differ in time (see batch_plan).
            self.buffer_batches = max(2, buffer_rows // step)
        self._buffer = self.buffer_batches * step
        #: The last buffer takes what fills no batch, too.
        self.buffers = max(1, -(-full // self.buffer_batches))

    def buffer_of(self, batch):
        """Which buffer holds a batch, and which of its batches it is."""
        buffer = min(batch // self.buffer_batches, self.buffers - 1)
        return buffer, batch - buffer * self.buffer_batches

    @property
    def whole_buffers(self):
        """Buffers that an epoch may open with."""
        return max(1, self.buffers - 1)

    def read(self, epoch, buffer):
        """The sessions of a buffer; all of them where everything is in memory."""
        if self._sessions is not None:
            return self._sessions
        order = np.arange(len(self._sizes))
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        ends = np.cumsum(self._sizes[order])
        first = buffer * self._buffer
        last = self.num_sessions
        if buffer < self.buffers - 1:
            last = first + self._buffer
        since = int(np.searchsorted(ends, first, side="right"))
        until = int(np.searchsorted(ends, last, side="left")) + 1
        skipped = int(ends[since - 1]) if since else 0
        parts = [self.files.parts[i] for i in order[since:until]]
        return self._read(parts)[first - skipped : last - skipped]

    def _read(self, parts, names=None):
        table = SessionTable.from_pieces([self.files.read(p, names) for p in parts])
        return Sessions.of(
            table, self.schema, self.target, self.max_length, self._drop_unknown
        )

    def _scan(self):
        """Reads the item column once, to know how many sessions there are."""
        sizes, lengths = [], []
        for part in self.files.parts:
            sessions = self._read([part], [self.schema.item_id])
            sizes.append(len(sessions))
            lengths.append(sessions.length)
        return sizes, np.concatenate(lengths)

    def _times_can_vary(self, lengths, step, drop_last):
        times = round_up_time(lengths, self.max_length)
        if self.shuffle:
            short = int((times < self.max_length).sum())
            return times_can_vary(
                short, self.num_sessions, step, self._buffer, drop_last
            )
        opening = times[: 2 * step]
        return (
            len(lengths) <= step
            or min(opening[:step].max(), opening[step:].max()) < self.max_length
        )
