"""Raw clicks → sessions, with a fitted state."""

import sys
from pathlib import Path

from keras_t4r.arguments import truth, whole_number
from keras_t4r.data.clicks.click_table import open_clicks
from keras_t4r.data.clicks.parts import ClickParts
from keras_t4r.data.clicks.prepared import find_kinds
from keras_t4r.data.etl.config import START, WINDOW, ETLConfig
from keras_t4r.data.etl.fit import fit_state
from keras_t4r.data.etl.schema import session_schema
from keras_t4r.data.etl.session_table import check_numbers, session_table
from keras_t4r.data.etl.split import check_split
from keras_t4r.data.etl.state import (
    SAVED_ETL,
    STATE_FILE,
    WORKFLOW_FOLDER,
    ETLState,
    id_columns,
    state_files,
)
from keras_t4r.data.etl.writer import WINDOW_FILES, WindowWriter
from keras_t4r.files import Known, as_path, new_folder, one_of_names, within
from keras_t4r.schema import VOCABULARY_FOLDER
from keras_t4r.schema.encoded_ids import mark_encoded

SCHEMA_FILE = "schema.pbtxt"


class SessionETL:
    """Turns a log of clicks into sessions that a model can read.

    The steps, in their order:

    1. Clicks are sorted by session and time; ties keep the order of the rows.
    2. Of consecutive clicks of a session on one item, the first is kept.
    3. Ids are encoded: 0 is padding, 1 unknown (null, never seen, or an item
       seen fewer than `min_count` times), 2… the values, most frequent first.
    4. Numbers are standardised, `(x - mean) / deviation`; null becomes 0.
    5. `recency_log_norm` is the standardised `log(1 + age)`, age being the days
       since the item's first click in the fitted log (0 for unknown items).
       `dayofweek_*` and `hour_*` are the sine and cosine of 2π times the day
       of the week (Monday 0) over 7, and the time of day over 24 h, in UTC;
       `seconds` are whole ones, modulo 27 weeks, tagged `timestamp`.
    6. A session becomes one row: lists for what changes by the click, of which
       the newest `max_length` are kept; the first value for its context.
    7. `window` counts windows from 1, the one in whose minute, hour or day the
       fitted log begins; a session belongs to the window of its first click.
       `length` counts its clicks before truncation, `start` is its first time.

    Null, NaN, empty text and the least integer are "no value", in any container: what
    has no session, time or item is an error. (Text files have `null_values` beside, see
    `ClickLog`.) A column of booleans has the ids of the texts `true` and `false`, or
    the numbers 1 and 0; elsewhere booleans are no ids, and never times.

    Means and deviations are exact, so how the clicks were read changes no bit of a
    session.

    Log and request go the same way: `write` and `transform` call one function.

    Memory: vocabularies, and `rows_in_memory` clicks at a time (about 250 bytes
    each with three or four columns). A longer log is dealt to temporary files
    by session, and never held whole.

    Args:
        session: string. Column of session ids, integers or text. They are kept
            raw.
        time: string. Column of times: ISO 8601 text of calendar dates, in any form
            (with `Z`, an offset, or UTC), dates, datetimes, or numbers of `time_unit`.
        item: string. Column of item ids, integers or text.
        categorical: list of strings. Id columns that change by the click.
        continuous: list of strings. Number columns that change by the click.
        context_categorical: list of strings. Id columns of the whole session.
        context_continuous: list of strings. Number columns of the whole
            session.
        time_unit: `"s"`, `"ms"`, `"us"`, `"ns"` or `None`. Of numeric times.
            Fractions are kept, down to the microsecond.
        drop_repeats: bool. Whether step 2 is done.
        time_features: list of strings. Out of `"dayofweek_sin"`,
            `"dayofweek_cos"`, `"hour_sin"`, `"hour_cos"`, and `"seconds"`, for bodies
            that read times, such as HSTU.
        recency: bool. Whether there is a column `recency_log_norm`.
        min_count: int. Rarer items become unknown.
        min_length: int. Shorter sessions are not written.
        max_length: int. Newest clicks kept of a session.
        window: string. A number and a unit (m, h, d), such as `"1d"`.
        rows_in_memory: int. Clicks held at once; not part of the saved state.

    Example:

    ```python
    etl = SessionETL("session_id", "timestamp", "item_id", categorical=["category"])
    etl.fit("clicks/*.parquet")
    etl.write("clicks/*.parquet", "sessions", split=(0.8, 0.1, 0.1))
    etl.transform({"session_id": [7], "timestamp": ["2014-04-07T10:51:09.277Z"],
                   "item_id": [214536502], "category": ["S"]})
    ```
    """

    def __init__(
        self,
        session,
        time,
        item,
        categorical=(),
        continuous=(),
        context_categorical=(),
        context_continuous=(),
        time_unit=None,
        drop_repeats=True,
        time_features=("dayofweek_sin",),
        recency=True,
        min_count=1,
        min_length=2,
        max_length=20,
        window="1d",
        rows_in_memory=10_000_000,
    ):
        self.config = ETLConfig(
            session=session,
            time=time,
            item=item,
            categorical=categorical,
            continuous=continuous,
            context_categorical=context_categorical,
            context_continuous=context_continuous,
            time_unit=time_unit,
            drop_repeats=drop_repeats,
            time_features=time_features,
            recency=recency,
            min_count=min_count,
            min_length=min_length,
            max_length=max_length,
            window=window,
        )
        if rows_in_memory is not None:
            rows_in_memory = whole_number("rows_in_memory", rows_in_memory, most=None)
        self.rows_in_memory = rows_in_memory
        self._state = None

    # Fitting and transforming

    def fit(self, clicks):
        """Learns vocabularies, first times, means and deviations.

        Args:
            clicks: path, list of paths, `ClickLog`, polars, pyarrow or pandas
                table, dict of columns, or list of rows (dicts, named tuples or
                dataclasses, one a click).

        Returns:
            The ETL itself.
        """
        source = open_clicks(clicks)
        kinds = find_kinds(source, self.config)
        with ClickParts(source, self.config, kinds, self.rows_in_memory) as parts:
            self._state = self._fit_state(parts, kinds)
        return self

    def transform(self, clicks, min_length=1):
        """Sessions of clicks, in the order in which the clicks name them.

        The whole result is in memory; `write` is for logs that are not.

        Args:
            clicks: see `fit`. No rows give a table of no rows.
            min_length: int. Shorter sessions are left out.

        Returns:
            A `pyarrow.Table` with the columns of the files that `write` makes. Like
            them it is marked with what encoded its ids and standardised its numbers
            (see `schema.encoded_ids`).
        """
        min_length = whole_number("min_length", min_length)
        state, source = self._fitted(), open_clicks(clicks)
        with ClickParts(source, self.config, state.kinds) as parts:
            (frame,) = parts
        return self._marked_table(frame, min_length, order="row")

    def fit_transform(self, clicks, min_length=1):
        """`fit`, then `transform`."""
        min_length = whole_number("min_length", min_length)
        return self.fit(clicks).transform(clicks, min_length)

    def write(self, clicks, folder, split=None, seed=0, overwrite=False, progress=True):
        """Writes sessions by window, with schema, vocabularies and this ETL.

        ```
        folder/schema.pbtxt
        folder/vocabularies/<column>.parquet    value, count; row 0 is id 2
        folder/workflow/                        for `SessionETL.load`
        folder/<window>/sessions.parquet        or train, valid, test.parquet
        ```

        An ETL that is not fitted is fitted on these clicks first. The folder
        appears whole or not at all.

        Args:
            clicks: see `fit`.
            folder: path. Should not exist.
            split: three fractions of train, valid and test, or `None`. A
                session's part is a hash of its id and the seed.
            seed: int. Of the split.
            overwrite: bool. Whether an existing folder is replaced; only one that
                holds what this method wrote, or nothing, is.
            progress: bool. Whether a line a step goes to stderr.

        Returns:
            dict, the number of sessions of each window.

        Raises:
            FileExistsError: the folder exists, and `overwrite` is not set; or it holds
                a file that this method did not write, which is never replaced.
            BlockingIOError: another process is writing it.
            OSError: the disk is full, or the place may not be written to.
            TypeError: `split` is no list of numbers, the seed no whole number,
                `overwrite` or `progress` no truth value, or the folder no path.
            ValueError: the clicks lie in the folder, or cannot be read; or the
                fractions do not add up to 1.
        """
        split = None if split is None else check_split(split)
        seed = whole_number("seed", seed, least=None, most=None)
        overwrite = truth("overwrite", overwrite)
        progress = truth("progress", progress)
        folder = as_path(folder, "sessions")
        source = open_clicks(clicks)
        _check_outside(source, folder)
        with new_folder(folder, overwrite, known_by=_WRITTEN) as target:
            kinds = self._state.kinds if self._state else None
            kinds = kinds or find_kinds(source, self.config)
            with ClickParts(
                source, self.config, kinds, self.rows_in_memory, target
            ) as parts:
                if self._state is None:
                    _say(progress, f"fitting on {source}")
                    self._state = self._fit_state(parts, kinds)
                writer = WindowWriter(
                    target, self.config.session, split, seed, spill=parts.count > 1
                )
                for number, frame in enumerate(parts, 1):
                    _say(progress, f"sessions of part {number} of {parts.count}")
                    writer.add(self._log_table(frame, source))
            sizes = writer.finish()
            if not sizes:
                raise ValueError(
                    f"No session of {source} has {self.config.min_length} clicks "
                    "or more; there is nothing to write."
                )
            self._write_state(target)
        total = sum(sizes.values())
        _say(progress, f"{total} sessions in {len(sizes)} windows: {folder}")
        return sizes

    def _log_table(self, frame, source):
        table = self._marked_table(frame, self.config.min_length, order="start")
        if table.num_rows and table[WINDOW][0].as_py() < 1:
            raise ValueError(
                f"{source} starts at {table[START][0]}, before the log that this "
                "ETL was fitted on; windows are counted from that. Fit on both."
            )
        return table

    def _marked_table(self, frame, min_length, order):
        table = self._session_table(frame, min_length, order)
        check_numbers(table, self.config.session)
        return mark_encoded(table, self._state.encodings(self.config))

    # The engine, which NVTabularWorkflow replaces

    def _fit_state(self, parts, kinds):
        return fit_state(parts, self.config, kinds)

    def _session_table(self, clicks, min_length, order):
        return session_table(clicks, self.config, self._state, min_length, order)

    # State

    def save(self, folder):
        """Writes the fitted ETL as JSON and parquet.

        The folder appears whole or not at all; one that exists is replaced
        only if it holds a saved ETL, or nothing.

        Raises:
            FileExistsError: the folder holds a file that is none of a saved ETL. It is
                never replaced.
        """
        state, folder = self._fitted(), as_path(folder, "a fitted ETL")
        with new_folder(folder, overwrite=True, known_by=SAVED_ETL) as target:
            state.save(target, self.config)

    @classmethod
    def load(cls, folder):
        """Reads what `save` wrote, or the `workflow` folder of `write`."""
        config, state = ETLState.load(folder)
        etl = cls(**vars(config))
        etl._state = state
        return etl

    def _write_state(self, folder):
        self._state.save(folder / WORKFLOW_FOLDER, self.config)
        (folder / VOCABULARY_FOLDER).mkdir()
        for name, vocabulary in self._state.vocabularies.items():
            vocabulary.save(folder / VOCABULARY_FOLDER / f"{name}.parquet")
        self.schema.save(folder / SCHEMA_FILE)

    # What it knows

    @property
    def schema(self):
        """The `Schema` of the sessions, with the vocabularies of their ids."""
        return session_schema(self.config, self._fitted())

    @property
    def input_columns(self):
        """The type, `int64`, `float64` or `string`, of each raw column.

        A column of datetimes is declared as a string: ISO 8601 text is read
        wherever times are.
        """
        return dict(self._fitted().kinds)

    def vocabulary(self, column):
        """The `Vocabulary` of an id column."""
        vocabularies = self._fitted().vocabularies
        if column not in vocabularies:
            raise ValueError(
                f"Column {column!r} has no vocabulary; these have one: "
                f"{list(vocabularies)}."
            )
        return vocabularies[column]

    def decode(self, ids, column=None):
        """Raw values of ids, in an object array of the same shape.

        Args:
            ids: array of ints. Of any shape.
            column: string. Default: the item column.

        Returns:
            numpy array. `None` stands for padding and unknown ids.
        """
        return self.vocabulary(column or self.config.item).decode(ids)

    def _fitted(self):
        if self._state is None:
            raise ValueError(
                "This SessionETL is not fitted; call fit(clicks), or load one."
            )
        return self._state


def _written(folder):
    """A regular expression of the files that `write` left in a folder."""
    workflow = folder / WORKFLOW_FOLDER
    vocabularies = [f"{name}.parquet" for name in id_columns(workflow)]
    files = (
        one_of_names([SCHEMA_FILE]),
        within(VOCABULARY_FOLDER, one_of_names(vocabularies)),
        within(WORKFLOW_FOLDER, state_files(workflow)),
        WINDOW_FILES,
    )
    return "|".join(files)


# A schema may lie beside anybody's files; the fitted ETL does beside these.
_WRITTEN = Known(f"{WORKFLOW_FOLDER}/{STATE_FILE}", _written)


def _check_outside(source, folder):
    """A folder that is replaced must not hold what is being read."""
    for file in source.files:
        if Path(folder).resolve() in file.resolve().parents:
            raise ValueError(
                f"The clicks {file} lie in {folder}, which is to be written: take "
                "another folder, or they would be gone."
            )


def _say(progress, text):
    if progress:
        print(f"etl: {text}", file=sys.stderr, flush=True)
