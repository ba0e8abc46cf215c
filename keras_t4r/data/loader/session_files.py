"""Finds the parquet files of a loader and reads their row groups."""

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from keras_t4r.data.column_names import check_once
from keras_t4r.data.etl.split import SPLIT_NAMES
from keras_t4r.data.etl.state import WORKFLOW_FOLDER
from keras_t4r.data.loader.session_arrays import SessionPiece
from keras_t4r.data.loader.session_tables import as_table
from keras_t4r.files import as_path
from keras_t4r.files.digest import footer_digest
from keras_t4r.files.find import find_files, is_parquet
from keras_t4r.files.parquet import open_parquet, reading_parquet
from keras_t4r.files.seen_file import SeenFile
from keras_t4r.schema import VOCABULARY_FOLDER
from keras_t4r.schema.encoded_ids import (
    check_encoded,
    encoded_columns,
    numbers_of,
    text_of,
)

BESIDE_SESSIONS = (VOCABULARY_FOLDER, WORKFLOW_FOLDER)


@dataclass(frozen=True)
class Part:
    """A row group: the smallest piece of a file that is read at once."""

    source: object
    group: int
    rows: int
    first_row: int


class SessionFiles:
    """The row groups of all files of a loader, in order.

    Args:
        paths: path, folder, glob pattern, a list of them, or a table: see
            `as_table`.
        schema: `Schema`. What the columns are meant to be.
        names: list of strings. The feature columns to read.
        needs_key: bool. Whether files have to have the session id, too. Where
            it is there, it is read in any case.
        weight: string or `None`. Which of the columns holds weights.

    Raises:
        FileNotFoundError: a path or a pattern leads to no file.
        TypeError: session ids that are needed are no numbers.
        ValueError: a file is no parquet file, or lacks a column, or has it twice; no
            file has rows; some files have session ids and others not; ids were encoded
            by another vocabulary than the one beside the schema's file.
    """

    def __init__(self, paths, schema, names, needs_key=False, weight=None):
        self.schema = schema
        self.weight = weight
        self.names = list(names)
        self._needs_key = needs_key
        self._needed = [*names, schema.session_id] if needs_key else self.names
        self.parts = []
        self._first_key = None
        self._marked, self._passed = {}, set()
        self._seen = {}
        table = as_table(paths)
        if table is not None:
            self._check_columns(table.schema, "The table")
            self._note_mark(table.schema, "the table")
            if table.num_rows:
                self.parts.append(Part(table, 0, table.num_rows, 0))
            where = "The table"
        else:
            files = find_parquet(paths)
            for file in files:
                self._add_file(file)
            where = files[0] if len(files) == 1 else f"Each of the {len(files)} files"
        if not self.parts:
            raise ValueError(f"{where} has no rows; there are no sessions to read.")
        self._check_own_ids()

    def read(self, part, names=None):
        """Reads and checks one row group.

        Args:
            part: `Part`. One of `self.parts`.
            names: list of strings. Feature columns to read; all by default.

        Returns:
            A `SessionPiece`.

        Raises:
            FileNotFoundError: its file was removed since.
            TypeError, ValueError: it holds what the schema does not allow, or its file
                was replaced or changed since.
        """
        key = self.schema.session_id
        wanted = self.names if names is None else names
        if isinstance(part.source, pa.Table):
            table, where = part.source, "The table"
            columns = [n for n in (*wanted, key) if n in table.column_names]
            table = table.select(dict.fromkeys(columns))
        else:
            where = part.source
            with self._opened(where) as file:
                present = file.schema_arrow.names
                columns = dict.fromkeys(n for n in (*wanted, key) if n in present)
                table = file.read_row_group(part.group, columns=list(columns))
        return SessionPiece.from_arrow(
            table, self.schema, wanted, where, part.first_row, self.weight
        )

    @contextmanager
    def _opened(self, path):
        with self._seen[path].reading(), open_parquet(path) as file:
            with reading_parquet(path):
                yield file

    def _add_file(self, path):
        self._seen[path] = SeenFile(path, "the loader", footer_digest)
        with self._opened(path) as file:
            held, metadata = file.schema_arrow, file.metadata
        self._check_columns(held, path)
        self._note_mark(held, path)
        if metadata.num_rows:
            self._check_key(held, path)
        first_row = 0
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if rows:
                self.parts.append(Part(path, group, rows, first_row))
            first_row += rows

    def check_ids(self, encodings):
        """Raises where values were encoded otherwise: see `check_encoded`."""
        # Each `fit` asks, and a vocabulary of the schema may have to be read.
        asked = {
            name: encoding
            for name, encoding in encodings.items()
            if (name, text_of(encoding)) not in self._passed
        }
        for where, held in self._marked.values():
            check_encoded(held, asked, where, own=self._own_encoding)
        self._passed.update((name, text_of(held)) for name, held in asked.items())

    def _own_encoding(self, name):
        if name not in self.schema:
            return None
        column = self.schema[name]
        if column.is_categorical:
            try:
                return self.schema.vocabulary(name)
            except FileNotFoundError:
                # To compare ids its name is enough.
                return column.encoding
        return numbers_of([column]).get(name)

    def _note_mark(self, held, where):
        """Keeps one file of each ETL, and one without a mark: many have the same."""
        mark = (encoded_columns(held) or {}).items()
        self._marked.setdefault(frozenset(mark), (where, held))

    def _check_own_ids(self):
        marked = {name for mark in self._marked for name, _ in mark}
        names = marked.intersection(self.names)
        own = {name: self._own_encoding(name) for name in names}
        known = {name: encoding for name, encoding in own.items() if encoding}
        for where, held in self._marked.values():
            check_encoded(held, known, where, whose="schema")

    def _check_columns(self, held, where):
        present = held.names
        check_once(present, where, [*self._needed, self.schema.session_id])
        for name in self._needed:
            if name not in present:
                raise ValueError(
                    f"{where} has no column {name!r}, which the schema names; its "
                    f"columns are {list(present)}."
                )
        key = self.schema.session_id
        if self._needs_key and not _is_number(held.field(key).type):
            raise TypeError(
                f"{where}, column {key!r} holds session ids of type "
                f"{held.field(key).type}, but a model reads numbers: leave it out of "
                "columns, and ask the loader for its session_ids."
            )

    def _check_key(self, held, path):
        """Session ids stand in all files or in none, and are of one kind."""
        key = self.schema.session_id
        kind = held.field(key).type if key in held.names else None
        if self._first_key is None:
            self._first_key = path, kind
            return
        first, expected = self._first_key
        if (kind is None) != (expected is None):
            with_key, without = (path, first) if expected is None else (first, path)
            raise ValueError(
                f"{with_key} has session ids in column {key!r}, but {without} has no "
                "such column: write it into all files or into none."
            )
        if kind is not None and not _joinable(kind, expected):
            raise ValueError(
                f"Column {key!r} holds session ids of type {expected} in {first}, but "
                f"of type {kind} in {path}: write one type into all files."
            )


def _is_number(kind):
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _joinable(kind, other):
    one, two = (pa.schema([pa.field("key", k)]) for k in (kind, other))
    try:
        pa.unify_schemas([one, two], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


def find_parquet(paths):
    """Parquet files that a path, folder, pattern, or a list of them leads to.

    Returns:
        A list of strings: see `find_files`. Left out of a folder is also what
        `SessionETL` writes beside the sessions.

    Raises:
        ValueError: a folder holds the parts of a split, of which one is to be named.
    """
    files = find_files(paths, is_parquet, "sessions", BESIDE_SESSIONS)
    _check_one_part(files, paths)
    return list(map(str, files))


def _check_one_part(files, paths):
    """Nobody means to train on the sessions that are to test it."""
    given = paths if isinstance(paths, (list, tuple)) else [paths]
    named = {as_path(path, "sessions") for path in given}
    parts = defaultdict(set)
    for file in files:
        if file.stem in SPLIT_NAMES and file not in named:
            parts[file.parent].add(file.stem)
    for folder, found in parts.items():
        if len(found) > 1:
            raise ValueError(
                f"{folder} holds the parts of a split, {sorted(found)}: name the one "
                f'that is meant, as "{folder}/train.parquet", or "*/train.parquet" '
                "for that of several windows."
            )
