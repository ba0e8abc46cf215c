"""Tables of sessions → a folder of windows."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from keras_t4r.data.etl.config import START, WINDOW
from keras_t4r.data.etl.split import SPLIT_NAMES, split_sessions
from keras_t4r.files import within
from keras_t4r.files.parquet import read_parquet, write_parquet

# Small enough to stream by, large enough to compress.
_ROW_GROUP = 65_536
_WHOLE = "sessions"
# The paths of all files, as a regular expression.
WINDOW_FILES = within("[0-9]+", rf"({'|'.join([_WHOLE, *SPLIT_NAMES])})\.parquet")


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
        self._schema = table.schema
        windows = table[WINDOW].to_numpy()
        edges = np.flatnonzero(np.diff(windows, prepend=windows[:1] - 1))
        for begin, end in zip(edges, [*edges[1:], len(windows)], strict=True):
            rows = table.slice(begin, end - begin)
            waiting = self._waiting.setdefault(int(windows[begin]), [])
            if self._spill:
                path = self._folder / f"{windows[begin]}-{len(waiting)}.parquet"
                write_parquet(rows, path, compression="lz4")
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
                write_parquet(rows, path, row_group_size=_ROW_GROUP)
            sizes[window] = table.num_rows
        return sizes

    def _take(self, window):
        tables = self._waiting.pop(window)
        if not self._spill:
            return pa.concat_tables(tables).combine_chunks()
        table = pa.concat_tables([read_parquet(path) for path in tables])
        for path in tables:
            path.unlink()
        order = [(START, "ascending"), (self._session, "ascending")]
        # Parquet has other names for the values of lists.
        return table.sort_by(order).cast(self._schema).combine_chunks()

    def _parts(self, table):
        if self._split is None:
            yield _WHOLE, table
            return
        sessions = pl.from_arrow(table[self._session])
        parts = split_sessions(sessions, self._split, self._seed)
        for part, name in enumerate(SPLIT_NAMES):
            if self._split[part] > 0:
                yield name, table.filter(pa.array(parts == part))
