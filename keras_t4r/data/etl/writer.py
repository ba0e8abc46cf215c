"""Tables of sessions → a folder of windows."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from keras_t4r.data.etl.config import START, WINDOW
from keras_t4r.data.etl.split import SPLIT_NAMES, split_sessions

# Small enough to stream by, large enough to compress.
_ROW_GROUP = 65_536


@contextmanager
def new_folder(folder, overwrite=False):
    """A folder that appears whole under its name, or not at all.

    Yields a temporary sibling, which takes the name at the end; on an error
    it is removed and what was there before stays.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise FileExistsError(
            f"{folder} exists already; pass overwrite=True to replace it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)
    temporary = Path(temporary)
    temporary.chmod(0o755)
    try:
        yield temporary
        if folder.exists():
            old = temporary.with_name(temporary.name + "-old")
            os.replace(folder, old)
            try:
                os.replace(temporary, folder)
            except BaseException:
                os.replace(old, folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


class WindowWriter:
    """Collects tables of sessions by window, then writes each window's files.

    A window is sorted by start and session id, so its files do not depend on
    how the sessions arrived. What waits to be written lies on disk if the
    tables come in several parts.

    Args:
        folder: path. The folder to fill.
        session: string. The column of session ids.
        split: three fractions, or `None` for one file a window.
        seed: int. Of the split.
        spill: bool. Whether tables wait on disk.
    """

    def __init__(self, folder, session, split=None, seed=0, spill=False):
        self._folder, self._session = Path(folder), session
        self._split, self._seed, self._spill = split, seed, spill
        self._waiting = {}

    def add(self, table):
        """Takes sessions that are in order of their start."""
        if not table.num_rows:
            return
        windows = table[WINDOW].to_numpy()
        edges = np.flatnonzero(np.diff(windows, prepend=windows[:1] - 1))
        for begin, end in zip(edges, [*edges[1:], len(windows)], strict=True):
            rows = table.slice(begin, end - begin)
            waiting = self._waiting.setdefault(int(windows[begin]), [])
            if self._spill:
                path = self._folder / f"{windows[begin]}-{len(waiting)}.parquet"
                pq.write_table(rows, path, compression="lz4")
                rows = path
            waiting.append(rows)

    def finish(self):
        """Writes the files; returns the number of sessions of each window."""
        sizes = {}
        for window in sorted(self._waiting):
            table = self._take(window)
            (self._folder / str(window)).mkdir()
            for name, rows in self._parts(table):
                path = self._folder / str(window) / f"{name}.parquet"
                pq.write_table(rows, path, row_group_size=_ROW_GROUP)
            sizes[window] = table.num_rows
        return sizes

    def _take(self, window):
        tables = self._waiting.pop(window)
        if not self._spill:
            return pa.concat_tables(tables)
        table = pa.concat_tables([pq.read_table(path) for path in tables])
        for path in tables:
            path.unlink()
        order = [(START, "ascending"), (self._session, "ascending")]
        return table.sort_by(order)

    def _parts(self, table):
        if self._split is None:
            yield "sessions", table
            return
        sessions = pl.from_arrow(table[self._session])
        parts = split_sessions(sessions, self._split, self._seed)
        for part, name in enumerate(SPLIT_NAMES):
            if self._split[part] > 0:
                yield name, table.filter(pa.array(parts == part))
