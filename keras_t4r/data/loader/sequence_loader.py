"""Parquet sessions to padded batches, as a Keras dataset."""

import operator
import threading

import keras
import numpy as np

from keras_t4r.data.loader.batch_plan import make_plan
from keras_t4r.data.loader.padding import event_cells, pad
from keras_t4r.data.loader.session_stream import SessionStream


class KerasSequenceLoader(keras.utils.PyDataset):
    """Reads sessions from parquet and gives right-padded batches of them.

    A batch is `(x,)` for training, where `x[column]` is

    - `(batch, time)` for list columns, padded with 0 on the right, where `time`
      is the batch's longest session rounded up to a multiple of 4;
    - `(batch,)` for columns with one value a session;

    int32 for ids and float32 for numbers. With `target="last"` it is `(x, y)`:
    `y`, an int32 `(batch,)`, holds the last item of each session, and `x` ends
    before it in every list column, so that no target is among the inputs.
    Sessions that then have no input (a single event), or whose last item is no
    real one (its id is below the schema's first), are left out and counted in
    `loader.left_out`.

    Sessions longer than `max_length` keep their newest events.

    The order is a function of `seed` and the epoch only. `fit` goes to the next
    epoch by itself; `set_epoch` goes to any, as when a run is resumed. Pass
    `shuffle=False` to `fit` for runs that repeat exactly: its own shuffle
    permutes the batches once more, out of Python's global random state.

    Each of `world_size` ranks gets as many batches, of equal shapes; no session
    is lost, and up to `world_size - 1` stand twice in an epoch to make it even.

    Args:
        paths: a parquet file, a folder (searched through, files sorted by name),
            a glob pattern, a list of them, or a `pyarrow.Table`.
        schema: `keras_t4r.Schema`. What the columns are.
        batch_size: int. Sessions a batch.
        target: `None` or `"last"`.
        shuffle: bool. Whether to draw a new order each epoch. Defaults to `True`
            without a target, and to `False`, the order of the files, with one.
        seed: int. Seed of the order.
        max_length: int. Events kept of a session. Defaults to the schema's.
        bucket: bool. Whether to trim batches to their longest session and, when
            shuffling, to put sessions of like length together. Without it, every
            batch is `max_length` wide.
        columns: list of strings. Columns of `x`. Defaults to those that
            `schema.inputs()` names.
        rank: int. Which share of the sessions to read, from 0 on.
        world_size: int. Number of shares.
        drop_last: bool. Whether to leave out a last batch that is not full.
        engine: `"arrow"`, or `"merlin"` to read the files with merlin-dataloader
            (extra `nvtabular`). The batches are the same.
        buffer_rows: int. For data larger than memory: how many sessions to hold
            at a time. Row groups are then visited in a random order, and sessions
            shuffled within the buffer. Defaults to `None`, which holds all.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` of
            `keras.utils.PyDataset`.

    Raises:
        FileNotFoundError: a path leads to no file.
        TypeError: a column has a type that the schema does not allow.
        ValueError: an argument, a file or a value is not usable; the message
            names the file, the column and the row.

    Example:

    ```python
    schema = keras_t4r.Schema.load("sessions/schema.pbtxt")
    train = keras_t4r.KerasSequenceLoader("sessions/1", schema, batch_size=384)
    valid = keras_t4r.KerasSequenceLoader(
        "sessions/2/valid.parquet", schema, batch_size=512, target="last"
    )
    model.fit(train, epochs=5, validation_data=valid)
    ```
    """

    def __init__(
        self,
        paths,
        schema,
        batch_size,
        *,
        target=None,
        shuffle=None,
        seed=0,
        max_length=None,
        bucket=True,
        columns=None,
        rank=0,
        world_size=1,
        drop_last=False,
        engine="arrow",
        buffer_rows=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if target not in (None, "last"):
            raise ValueError(f"target is {target!r}; it should be None or 'last'.")
        self.schema = schema
        self.batch_size = _count("batch_size", batch_size)
        self.target = target
        self.shuffle = target is None if shuffle is None else bool(shuffle)
        self.seed = _count("seed", seed, least=0)
        self.max_length = _count(
            "max_length", schema.max_length if max_length is None else max_length
        )
        self.bucket = bool(bucket)
        self.columns = list(schema.features.names if columns is None else columns)
        self.world_size = _count("world_size", world_size)
        self.rank = _count("rank", rank, least=0)
        if self.rank >= self.world_size:
            raise ValueError(
                f"rank is {self.rank}, but world_size is {self.world_size}; ranks "
                f"go from 0 to {self.world_size - 1}."
            )
        if buffer_rows is not None:
            buffer_rows = _count("buffer_rows", buffer_rows)
        self.drop_last = bool(drop_last)
        self._step = self.batch_size * self.world_size
        self._stream = SessionStream(
            paths,
            schema,
            self.columns,
            engine=engine,
            target=target,
            max_length=self.max_length,
            step=self._step,
            buffer_rows=buffer_rows,
            shuffle=self.shuffle,
            seed=self.seed,
            drop_last=self.drop_last,
        )
        self._trim = self.bucket and self._stream.times_can_vary
        self._epoch = 0
        self._in_epoch = False
        self._saw_last_batch = False
        self._lock = threading.Lock()
        self._plans = {}
        self._opening = None, 0
        if len(self) == 0:
            raise ValueError(
                f"{self.num_sessions} sessions fill no batch of {self._step} "
                "(batch_size times world_size); lower it, or set drop_last=False."
            )

    # Size

    @property
    def num_sessions(self):
        """Sessions of all ranks together."""
        return self._stream.num_sessions

    @property
    def left_out(self):
        """Sessions without a target or without an input, which are not given."""
        return self._stream.left_out

    def __len__(self):
        full, rest = divmod(self.num_sessions, self._step)
        return full + bool(rest and not self.drop_last)

    # Epochs

    @property
    def epoch(self):
        return self._epoch

    def set_epoch(self, epoch):
        """Goes to an epoch, counted from 0, such as the one to resume at."""
        self._epoch = _count("epoch", epoch, least=0)
        self._saw_last_batch = False

    def on_epoch_begin(self):
        self._in_epoch = True

    def on_epoch_end(self):
        # Keras also calls this without an epoch, before the first and where it
        # only looked at a batch to build the model: the order has to stay then.
        # (What other processes looked at is not known here.)
        whole = self._saw_last_batch or self.use_multiprocessing
        if self._in_epoch and whole:
            self.set_epoch(self._epoch + 1)
        self._in_epoch = False

    # Batches

    def __getitem__(self, index):
        sessions, rows, time = self._locate(index)
        if index == len(self) - 1:
            self._saw_last_batch = True
        begin, length = sessions.begin[rows], sessions.length[rows]
        source, cells = event_cells(begin, length, time)
        table, x = sessions.table, {}
        for name in self.columns:
            if name in table.lists:
                x[name] = pad(table.lists[name], source, cells, (len(rows), time))
            elif name == self.schema.session_id:
                x[name] = self._keys(sessions, rows)
            else:
                x[name] = table.scalars[name][sessions.rows[rows]]
        if self.target is None:
            return (x,)
        return x, table.lists[self.schema.item_id][begin + length]

    def session_ids(self, index):
        """Session ids of a batch, as they stand in the file, in batch order.

        Args:
            index: int. Which batch.

        Returns:
            A numpy array `(batch,)`.

        Raises:
            ValueError: neither schema nor file has a session id.
        """
        sessions, rows, _ = self._locate(index)
        return self._keys(sessions, rows)

    def _keys(self, sessions, rows):
        if sessions.table.keys is None:
            raise ValueError(
                "These sessions carry no session id: the schema tags no column "
                "as session_id, or the files lack it."
            )
        return sessions.table.keys.take(sessions.rows[rows]).to_numpy()

    def _locate(self, index):
        """The buffer that holds batch `index`, its rows there, and its time."""
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"There is no batch {index}; there are {len(self)}.")
        buffer, index = self._stream.buffer_of(index)
        sessions, plan = self._plan(self._epoch, buffer)
        return sessions, plan.rows(index), plan.times[index]

    def _plan(self, epoch, slot):
        """Sessions and batches of the buffer that comes `slot`-th."""
        with self._lock:
            if self._opening[0] != epoch:
                self._opening = epoch, self._find_opening(epoch)
            opening = self._opening[1]
            # The opening buffer and the first change places.
            return self._cached_plan(epoch, {0: opening, opening: 0}.get(slot, slot))

    def _find_opening(self, epoch):
        """The first buffer that opens with two times; mostly it is buffer 0."""
        if not (self._trim and self.shuffle):
            return 0
        for buffer in range(self._stream.whole_buffers):
            if self._cached_plan(epoch, buffer)[1].opens_with_two_times:
                return buffer
        return 0

    def _cached_plan(self, epoch, buffer):
        if (epoch, buffer) not in self._plans:
            # The buffer before may still be asked for by another worker.
            self._plans = dict(list(self._plans.items())[-1:])
            self._plans[epoch, buffer] = self._make_plan(epoch, buffer)
        return self._plans[epoch, buffer]

    def _make_plan(self, epoch, buffer):
        sessions = self._stream.read(epoch, buffer)
        rng = np.random.default_rng([self.seed, epoch, buffer])
        plan = make_plan(
            sessions.length,
            self.batch_size,
            self.max_length,
            rng=rng if self.shuffle else None,
            trim=self._trim,
            drop_last=self.drop_last,
            rank=self.rank,
            world_size=self.world_size,
        )
        return sessions, plan


def _count(name, value, least=1):
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it should be a whole number.") from None
    if number < least:
        raise ValueError(f"{name} is {number}; it should be {least} or more.")
    return number
