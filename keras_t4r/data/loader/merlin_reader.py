"""Reads the files of a loader through merlin-dataloader."""

import warnings

import numpy as np
import pyarrow as pa

from keras_t4r.data.loader.session_arrays import SessionPiece
from keras_t4r.data.loader.session_files import Part, SessionFiles
from keras_t4r.data.loader.session_tables import as_table
from keras_t4r.files.parquet import open_parquet

_BATCH_ROWS = 65_536


class MerlinFiles(SessionFiles):
    """As `SessionFiles`, with merlin-dataloader as the reader of the columns.

    merlin-dataloader reads in the order of the file; what it gives (values and
    offsets) then takes the same way as Arrow's, so the batches are the same. It
    reads whole files, so a buffer of the loader holds whole files too. Session
    ids, which may be text and are no tensors, are read with Arrow.
    """

    def __init__(self, paths, schema, names, needs_key=False, weight=None):
        if as_table(paths) is not None:
            raise TypeError(
                'engine="merlin" reads parquet files, not a table; write the table '
                'to a file, or use engine="arrow".'
            )
        several = [name for name in names if schema[name].event_count is not None]
        if several:
            raise ValueError(
                f"Columns {several} have vectors or bags, which merlin-dataloader does "
                'not read: use engine="arrow".'
            )
        _merlin()
        super().__init__(paths, schema, names, needs_key, weight)
        rows = {}
        for part in self.parts:
            rows[part.source] = rows.get(part.source, 0) + part.rows
        self.parts = [Part(path, None, count, 0) for path, count in rows.items()]

    def read(self, part, names=None):
        names = self.names if names is None else names
        try:
            with self._seen[part.source].reading():
                table = self._read_file(part.source, names)
            return SessionPiece.from_arrow(
                table, self.schema, names, part.source, weight=self.weight
            )
        except Exception:
            # Nulls and wrong types end somewhere inside merlin, or come out as
            # other types; Arrow's reader knows what they are and says where.
            self._explain(part, names)
            raise

    def _read_file(self, path, names):
        table = pa.table(_read_columns(path, names, self.schema))
        key = self.schema.session_id
        with open_parquet(path) as file:
            if key in file.schema_arrow.names:
                table = table.append_column(key, file.read(columns=[key])[key])
        return table

    def _explain(self, part, names):
        with self._seen[part.source].reading(), open_parquet(part.source) as file:
            first_row = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                super().read(Part(part.source, group, rows, first_row), names)
                first_row += rows


def _merlin():
    try:
        from merlin.dataloader.loader_base import LoaderBase
        from merlin.io import Dataset
    except ImportError as error:
        raise ImportError(
            'engine="merlin" needs merlin-dataloader: install keras_t4r[nvtabular] '
            'on Python 3.10 or 3.11, or use engine="arrow".'
        ) from error
    return LoaderBase, Dataset


def _read_columns(path, names, schema):
    """All rows of a file, as a dict of Arrow arrays."""
    loader_class, dataset_class = _merlin()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dataset_class(path, engine="parquet", cpu=True)
        dataset.schema = dataset.schema.select_by_name(names)
        batches = [batch for batch, _ in loader_class(dataset, _BATCH_ROWS)]
    columns = {}
    for name in names:
        if schema[name].is_list:
            values = np.concatenate([b[f"{name}__values"] for b in batches])
            lengths = np.concatenate([np.diff(b[f"{name}__offsets"]) for b in batches])
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            columns[name] = pa.LargeListArray.from_arrays(offsets, values)
        else:
            columns[name] = pa.array(np.concatenate([b[name] for b in batches]))
    return columns
