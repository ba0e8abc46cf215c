"""Prepared clicks, whole in memory or in parts on disk."""

import shutil
import tempfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from keras_t4r.data.clicks.prepared import prepared, typed

_PART = "__part"


class ClickParts:
    """Iterates over prepared clicks, as often as wanted, in bounded memory.

    A log of up to `rows_in_memory` clicks is one part, held in memory. A
    longer one is dealt by a hash of the session id to files in a temporary
    folder, in one streaming pass; each part is then sorted in memory, once,
    and kept on disk. Every session is whole in one part.

    Args:
        source: `ClickLog` or `ClickTable`.
        config: `ETLConfig`.
        kinds: dict. The kind of each raw column.
        rows_in_memory: int. The most clicks to hold at once, about; `None`
            for all of them.
        folder: path. Where the temporary folder goes. Default: the system's.
    """

    def __init__(self, source, config, kinds, rows_in_memory=None, folder=None):
        self._source, self._config, self._kinds = source, config, kinds
        rows = source.rows() if rows_in_memory else 0
        self.count = -(-rows // rows_in_memory) if rows else 1
        self._parent, self._folder = folder, None
        self._frame, self._sorted = None, set()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._frame = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __iter__(self):
        if self.count == 1:
            if self._frame is None:
                with self._reading():
                    frame = self._scan().lazy().collect(engine="streaming")
                self._check_count(frame.height)
                self._frame = self._prepare(frame)
            yield self._frame
            return
        if self._folder is None:
            self._deal()
        for part in range(self.count):
            yield self._read(part)

    def _scan(self):
        columns, kinds, time = self._config.raw_columns, self._kinds, self._config.time
        frame = self._source.scan(list(columns), kinds, time)
        return typed(frame, kinds, time, self._source)

    def _reading(self):
        return self._source.reading(self._kinds, self._config.time)

    def _prepare(self, frame):
        return prepared(frame, self._config, self._source)

    def _deal(self):
        self._folder = Path(tempfile.mkdtemp(prefix="clicks-", dir=self._parent))
        key = (pl.col(self._config.session).hash(0) % self.count).alias(_PART)
        target = pl.PartitionBy(self._folder, key=_PART, include_key=False)
        with self._reading():
            self._scan().lazy().with_columns(key).sink_parquet(
                target, compression="lz4", mkdir=True
            )
        dealt = self._folder.glob(f"{_PART}=*/*.parquet")
        self._check_count(sum(pq.read_metadata(file).num_rows for file in dealt))

    def _check_count(self, rows):
        """Whoever counts clicks and whoever reads them are to agree what is one."""
        expected = self._source.rows()
        if rows != expected:
            raise ValueError(
                f"{self._source} holds {expected} clicks, of which {rows} could be "
                "read; write it again, as parquet or with other quotes."
            )

    def _read(self, part):
        done = self._folder / f"sorted-{part}.parquet"
        if part in self._sorted:
            return pl.read_parquet(done)
        raw = self._folder / f"{_PART}={part}"
        if not raw.exists():
            frame = self._scan().lazy().head(0).collect()
        else:
            frame = pl.read_parquet(raw / "*.parquet")
        frame = self._prepare(frame)
        frame.write_parquet(done, compression="lz4")
        shutil.rmtree(raw, ignore_errors=True)
        self._sorted.add(part)
        return frame
