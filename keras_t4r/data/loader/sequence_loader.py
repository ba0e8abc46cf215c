"""Parquet sessions to padded batches, as a Keras dataset."""

import operator
import threading
from functools import partial

import keras
import numpy as np

from keras_t4r.arguments import one_of, optional, truth, whole_number
from keras_t4r.data.loader.batch_plan import make_plan
from keras_t4r.data.loader.column_roles import ColumnRoles
from keras_t4r.data.loader.looked_up_vectors import LookedUpVectors
from keras_t4r.data.loader.session_batch import SessionBatch
from keras_t4r.data.loader.session_stream import SessionStream
from keras_t4r.schema import check_schema


class KerasSequenceLoader(keras.utils.PyDataset):
    """Reads sessions from parquet and gives right-padded batches of them.

    A batch is `(x,)` for training, where `x[column]` is

    - `(batch, time)` for list columns, padded with 0 on the right, where `time`
      is the batch's longest session rounded up to a multiple of 4;
    - `(batch, time, most)` for those with a vector or a bag of ids an event;
    - `(batch,)` for columns with one value a session;

    int32 for ids and float32 for numbers. With `target="last"` it is `(x, y)`:
    `y`, an int32 `(batch,)`, holds the last item of each session, and `x` ends
    before it in every list column, so that no target is among the inputs.
    Sessions that then have no input (a single event) are left out and counted in
    `loader.left_out`. A last item that the vocabulary does not hold (its id is
    below the schema's first) is a miss for every metric, as published protocols
    count it.

    Targets of other tasks are columns, too. With `targets`, `y` is a dict:
    `y[column]` has the shapes and the padding that the column would have in `x`,
    from which it is taken out, and ends where `x` ends. With `target="last"`
    beside it, the item that came next stands in `y[item column]`.

    Sessions longer than `max_length` keep their newest events.

    The order is a function of `seed` and the epoch only. `fit` goes to the next
    epoch by itself; `set_epoch` goes to any. `SessionModel.fit` keeps the loader at
    Keras's own epoch, so that a run resumes with the order it was in; in `fit` of
    another model `LoaderEpoch(loader)` among the callbacks does so. Pass
    `shuffle=False` to `fit` for runs that repeat exactly: its own shuffle
    permutes the batches once more, out of Python's global random state.

    Each of `world_size` ranks gets as many batches, of equal shapes; no session
    is lost, and up to `world_size - 1` stand twice in an epoch to make it even.

    Args:
        paths: a parquet file, a folder (searched through, files sorted by name),
            a glob pattern, or a list of them. Or the sessions themselves: a
            `pyarrow.Table`, a polars or pandas frame, or a dict of lists. Files and
            Arrow tables carry the mark of the ETL that encoded them, and another's are
            refused; frames and lists have none, so whose ids they hold is not known.
        schema: `keras_t4r.Schema`. What the columns are.
        batch_size: int. Sessions a batch.
        target: `None` or `"last"`.
        targets: list of strings. Columns of other tasks' targets, with one value a
            session or an event; any numbers, booleans or ids that the schema has.
            Whole numbers and booleans come as int32, others as float32.
        next_columns: list of strings. With `target="last"`, further columns whose
            value at the last event stands in `y`, as the category that came next.
        sample_weight: string. Column with one weight a session; batches are then
            `(x, y, sample_weight)`, where `y` is `{}` if there is no target and
            the weights are float32 `(batch,)`.
        unknown_targets: `"miss"`, or `"drop"` to leave out the sessions whose last
            item the vocabulary does not hold. Only with `target="last"`.
        shuffle: bool. Whether to draw a new order each epoch. Defaults to `True`
            without a target, and to `False`, the order of the files, with one.
        seed: int. Seed of the order.
        max_length: int. Input events kept of a session. Defaults to the schema's
            longest session, less the last event where that is the target.
        bucket: bool. Whether to trim batches to their longest session and, when
            shuffling, to put sessions of like length together. Without it, every
            batch is `max_length` wide.
        columns: list of strings. Columns of `x`. Defaults to those that
            `schema.inputs()` names. The session id may be one, if it is a number.
        vectors: dict of column of vectors to the pair of a column of ids and the `.npy`
            file, or the array, of their vectors, `(cardinality, width)`. The sessions
            then have no such column: the vectors are looked up for each batch, and the
            file is never read whole. What serves the model has to look them up, too.
        rank: int. Which share of the sessions to read, from 0 on.
        world_size: int. Number of shares.
        drop_last: bool. Whether to leave out a last batch that is not full.
        engine: `"arrow"`, or `"merlin"` to read the files with merlin-dataloader
            (extra `nvtabular`). The batches are the same.
        batch_multiple: int. Empty sessions (all 0, their targets and weights too)
            fill a batch up to a multiple of it; where `y` is a dict, the batch then
            has weights, 1 and 0. `predict` gives rows for them too, at the end of
            a batch. Defaults to the devices among which Keras splits a batch
            (`keras.distribution`), else 1.
        buffer_rows: int. For data larger than memory: how many sessions to hold
            at a time. Row groups are then visited in a random order, and sessions
            shuffled within the buffer; files that are replaced meanwhile are refused.
            Defaults to `None`, which holds all.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` of
            `keras.utils.PyDataset`. On JAX and PyTorch, Keras (3.15) gives a model
            whose compiled loss or metrics are not built yet the batches that its
            workers had read ahead to build them once more, and leaves out as many.

    Raises:
        FileNotFoundError: a path leads to no file.
        TypeError: a column has a type that the schema does not allow, or an argument
            one that it cannot have.
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
        targets=None,
        next_columns=None,
        sample_weight=None,
        unknown_targets="miss",
        shuffle=None,
        seed=0,
        max_length=None,
        bucket=True,
        columns=None,
        vectors=None,
        rank=0,
        world_size=1,
        drop_last=False,
        engine="arrow",
        batch_multiple=None,
        buffer_rows=None,
        **kwargs,
    ):
        super().__init__(**_checked(kwargs))
        check_schema(schema, needed=True)
        one_of("target", target, [None, "last"])
        one_of("unknown_targets", unknown_targets, ["miss", "drop"])
        one_of("engine", engine, ["arrow", "merlin"])
        if unknown_targets == "drop" and target is None:
            raise ValueError(
                "unknown_targets='drop' leaves out sessions by their target, but there "
                "is none: give target='last', too, or leave it out."
            )
        self.schema = schema
        self.batch_size = whole_number("batch_size", batch_size)
        self.target = target
        shuffle = optional(truth, "shuffle", shuffle)
        self.shuffle = target is None if shuffle is None else shuffle
        self.seed = whole_number("seed", seed, least=0, most=None)
        if max_length is None:
            max_length = _longest_input(schema, target)
        self.max_length = whole_number("max_length", max_length)
        self.bucket = truth("bucket", bucket)
        if vectors is not None and not isinstance(vectors, dict):
            raise TypeError(
                f"vectors is a {type(vectors).__name__}; it should be a dict of column "
                "to the pair of a column of ids and a .npy file or an array."
            )
        self._vectors = {
            name: LookedUpVectors(name, given, schema)
            for name, given in (vectors or {}).items()
        }
        self._roles = ColumnRoles.of(
            schema,
            columns,
            target,
            targets,
            next_columns,
            sample_weight,
            {name: given.ids for name, given in self._vectors.items()},
        )
        self.columns = list(self._roles.inputs)
        self.world_size = whole_number("world_size", world_size)
        self.rank = whole_number("rank", rank, least=0)
        if self.rank >= self.world_size:
            raise ValueError(
                f"rank is {self.rank}, but world_size is {self.world_size}; ranks "
                f"go from 0 to {self.world_size - 1}."
            )
        if batch_multiple is not None:
            batch_multiple = whole_number("batch_multiple", batch_multiple)
        self._batch_multiple = batch_multiple
        if buffer_rows is not None:
            buffer_rows = whole_number("buffer_rows", buffer_rows, most=None)
        self.drop_last = truth("drop_last", drop_last)
        self._step = self.batch_size * self.world_size
        self._stream = SessionStream(
            paths,
            schema,
            self._roles,
            engine=engine,
            target=target,
            drop_unknown=unknown_targets == "drop",
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
        """Sessions that are not given: with `target="last"`, those of one event, and
        those with an unknown target where these are to be dropped."""
        return self._stream.left_out

    @property
    def batch_multiple(self):
        """What the number of sessions in a batch is a multiple of."""
        return self._batch_multiple or _devices_of_a_batch()

    def __len__(self):
        full, rest = divmod(self.num_sessions, self._step)
        return full + bool(rest and not self.drop_last)

    def check_ids(self, encodings):
        """Checks that the sessions' ids and numbers mean what a model takes them for.

        Args:
            encodings: dict of column to the model's `Vocabulary`, or to its
                fingerprint, `None` where it has none; or, of numbers, to
                `ColumnSchema.encoding`.

        Raises:
            ValueError: an ETL encoded the ids of a file by another vocabulary, or one
                that the model lacks, or standardised its numbers otherwise; or a file
                says nothing, and the loader's schema has another. One that the model's
                was extended from is no other. Or of the model's vocabulary this process
                has the fingerprint only, and whether it was extended from that of the
                sessions cannot be told.
        """
        self._stream.files.check_ids(encodings)

    # Copies in other processes

    def __getstate__(self):
        # Other processes know neither this one's lock nor its distribution, and
        # make the plans that they need.
        state = {**self.__dict__, "_plans": {}, "_opening": (None, 0)}
        state["_batch_multiple"] = self.batch_multiple
        del state["_lock"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._lock = threading.Lock()

    # Epochs

    @property
    def epoch(self):
        """The epoch whose order the batches have, counted from 0."""
        return self._epoch

    def set_epoch(self, epoch):
        """Goes to an epoch, counted from 0, such as the one to resume at."""
        self._epoch = whole_number("epoch", epoch, least=0)
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
        batch = self._batch(index, self.batch_multiple)
        if index == len(self) - 1:
            self._saw_last_batch = True
        roles, x = self._roles, {}
        for name in roles.inputs:
            if name == roles.session:
                x[name] = batch.session_ids()
            elif name in self._vectors:
                vectors = self._vectors[name]
                x[name] = vectors.of(batch.column(vectors.ids))
            else:
                x[name] = batch.column(name)
        y = {name: batch.next(name) for name in roles.next_columns}
        y.update((name, batch.column(name)) for name in roles.targets)
        if roles.sample_weight is not None:
            weights = batch.weights(roles.sample_weight)
            return x, y[roles.item] if roles.one_target else y, weights
        if roles.one_target:
            return x, y[roles.item]
        if y and self.batch_multiple > 1:
            return x, y, batch.weights()
        return (x, y) if y else (x,)

    def session_ids(self, index):
        """Session ids of a batch, as they stand in the file, in batch order.

        Args:
            index: int. Which batch.

        Returns:
            A numpy array `(batch,)`.

        Raises:
            ValueError: neither schema nor file has a session id.
        """
        return self._batch(index).session_ids()

    def _batch(self, index, multiple=1):
        sessions, rows, time = self._locate(index)
        return SessionBatch(sessions, rows, time, multiple)

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


def _checked(kwargs):
    """Arguments of `PyDataset`, which does not look at them."""
    checks = {
        "workers": partial(whole_number, least=0),
        "use_multiprocessing": truth,
        "max_queue_size": whole_number,
    }
    return {n: checks[n](n, v) if n in checks else v for n, v in kwargs.items()}


def _longest_input(schema, target):
    longest = schema.max_length
    if not longest or longest < 1:
        raise ValueError(
            "The schema does not say how long a session may be (the value_count of its "
            "list columns has no max): pass max_length."
        )
    # One place belongs to the event that comes next.
    return max(1, longest - 1) if target == "last" else longest


def _devices_of_a_batch():
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])
