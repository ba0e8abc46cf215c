"""The files of sessions that `fit_windows` reads, window by window."""

import os
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa

from keras_t4r.data.etl.config import START
from keras_t4r.files import is_number
from keras_t4r.files.digest import file_digest
from keras_t4r.files.parquet import open_parquet
from keras_t4r.schema.encoded_ids import encoded_columns


class WindowFiles:
    """The files of the windows.

    Args:
        folder: path.
        windows: list of names of windows.
        train, evaluate: strings. Names of the files to fit and to evaluate on.
    """

    def __init__(self, folder, windows, train, evaluate):
        self.folder = folder
        self.windows = windows
        self._names = train, evaluate

    def train(self, window):
        return self._file(window, self._names[0])

    def evaluate(self, window):
        return self._file(window, self._names[1])

    def check(self, model, load, tuned):
        """Reads the items of all files, for no run should end in its last window."""
        self._check_apart()
        # A buffer of one: only the column of items is read, all are looked for.
        for window in self.windows[:-1]:
            with _named(self.train(window), "fitted on") as path:
                model.check_loader(load.to_fit(path, 512, buffer_rows=1))
        evaluated = [self.evaluate(window) for window in self.windows[1:]]
        if tuned:
            evaluated += [self.train(window) for window in self.windows[1:-1]]
        for path in evaluated:
            with _named(path, "evaluated on"):
                model.check_loader(load.to_evaluate(path, buffer_rows=1))
        self.check_order()

    def _check_apart(self):
        """Nothing is evaluated on after it was fit on, by whatever name."""
        fit, folders = {}, {}
        for now, after in pairwise(self.windows):
            train, test = self.train(now), self.evaluate(after)
            for window, path in ((now, train), (after, test)):
                other = folders.setdefault(_identity(path.parent), window)
                if other != window:
                    raise ValueError(
                        f"The windows {other} and {window} are one folder, "
                        f"{path.parent}: name each once."
                    )
            fit[_identity(train)] = train
            if _identity(test) in fit:
                raise ValueError(
                    f"{test} is the same file as {fit[_identity(test)]}, and would be "
                    "evaluated on after it was fit on: give each window its sessions."
                )

    def check_order(self):
        """Windows are in order of time, where the files say when their sessions began.

        One may begin before the one before it ends, but not end before that begins.
        """
        for now, after in pairwise(self.windows):
            fit, test = _starts(self.train(now)), _starts(self.evaluate(after))
            if fit and test and fit.kind == test.kind and test.last < fit.first:
                raise ValueError(
                    f"Window {after} comes after window {now}, and ends before that "
                    f"begins, by the column {START!r} of their files: name windows in "
                    "order of time, for the future is not to be learned before the "
                    "past is evaluated on."
                )

    def digests(self):
        """What tells these files from others, by window: all that each holds."""
        files = {f"{w}, fitted on": self.train(w) for w in self.windows[:-1]}
        files |= {f"{w}, evaluated on": self.evaluate(w) for w in self.windows[1:]}
        found = {path: file_digest(path) for path in set(files.values())}
        return {name: found[path] for name, path in files.items()}

    def _file(self, window, name):
        path = self.folder / str(window) / f"{name}.parquet"
        if not path.is_file():
            raise FileNotFoundError(f"Window {window} has no file {path}.")
        return path


@contextmanager
def _named(path, use):
    try:
        yield path
    except ValueError as error:
        raise ValueError(f"{path} cannot be {use}: {error}") from error


def numbered_windows(folder):
    """The names of a folder's numbered folders, in their order."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder of sessions at {folder}.")
    names = [p.name for p in folder.iterdir() if p.is_dir() and is_number(p.name)]
    return sorted(names, key=int)


def _identity(path):
    """What is the same for all names of a file or a folder."""
    about = os.stat(path)
    return about.st_dev, about.st_ino


class _Starts(NamedTuple):
    """When the first and the last session of a file began, and the type of these."""

    first: datetime
    last: datetime
    kind: pa.DataType


def _starts(path):
    """The `_Starts` of a file, by its footer; `None` where that does not say."""
    with open_parquet(path) as file:
        about, schema = file.metadata, file.schema_arrow
    leaves = [about.schema.column(i).path for i in range(about.num_columns)]
    # A file of others may mean something else by the name.
    if encoded_columns(schema) is None or START not in leaves:
        return None
    if not pa.types.is_timestamp(schema.field(START).type):
        return None
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    found = [group.column(leaves.index(START)).statistics for group in groups]
    if not found or not all(known and known.has_min_max for known in found):
        return None
    first, last = min(known.min for known in found), max(known.max for known in found)
    return _Starts(first, last, schema.field(START).type)
