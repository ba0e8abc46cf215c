"""Vectors by id that stay on the disk until a batch needs them."""

import os
from pathlib import Path

import numpy as np

from keras_t4r.arrays import as_array
from keras_t4r.files import as_path
from keras_t4r.files.seen_file import SeenFile


class LookedUpVectors:
    """Vectors of a column's ids, looked up a batch at a time.

    A file is mapped into memory, and not read: only the rows that batches ask for come
    from the disk, and the operating system keeps those that are asked for often. Copies
    in other processes map it again.

    Args:
        name: string. The column that the vectors become.
        given: pair of the column of ids, and the path of a `.npy` file, or an array, of
            floats `(cardinality, width)`.
        schema: `Schema`.

    Raises:
        TypeError: it is no such pair, or the vectors are no floats.
        FileNotFoundError: there is no such file.
        ValueError: the columns do not go together with the vectors.
    """

    def __init__(self, name, given, schema):
        if not isinstance(given, (list, tuple)) or len(given) != 2:
            raise TypeError(
                f"vectors[{name!r}] is {given!r}; it should be the pair of a column of "
                "ids and a .npy file or an array."
            )
        self._name = name
        self.ids, self._source = given
        column, ids = schema[name], schema[self.ids]
        if not column.is_vector:
            raise ValueError(
                f"Column {name!r} of vectors is none of vectors in the schema: give it "
                "an event_count, the width twice."
            )
        if not (ids.is_categorical and ids.is_list) or ids.is_bag:
            raise ValueError(
                f"Column {self.ids!r} has no id an event, by which vectors of {name!r} "
                "could be looked up."
            )
        if isinstance(self._source, (str, os.PathLike)):
            self._source = as_path(self._source, "vectors")
            if not self._source.is_file():
                raise FileNotFoundError(
                    f"There is no file of vectors at {self._source}."
                )
            self._seen = SeenFile(self._source, "the loader")
        else:
            self._source = as_array(f"vectors[{name!r}]", self._source)
        table = self._open()
        if table.dtype.kind != "f":
            raise TypeError(f"{self._where(name)} hold {table.dtype}, and no floats.")
        wanted = (ids.cardinality, column.event_count[1])
        if table.shape != wanted:
            raise ValueError(
                f"{self._where(name)} have shape {table.shape}; by the schema it is "
                f"{wanted}, with a row for each id of {self.ids!r}."
            )

    def of(self, ids):
        """Vectors `(…, width)` of ids, zero of id 0, float32.

        Raises:
            FileNotFoundError: the file was removed since.
            ValueError: it was replaced or changed since; or a number is none.
        """
        rows = np.asarray(self._open()[ids], np.float32)
        rows[ids == 0] = 0
        fine = np.isfinite(rows).all(axis=-1)
        if not fine.all():
            raise ValueError(
                f"{self._where(self._name)}: the vector of id {ids[~fine][0]} has a "
                "number that is none, or infinite: make it zeros."
            )
        return rows

    def _open(self):
        if isinstance(self._source, Path):
            # Who maps a file that was cut short is killed when it reads the end.
            self._seen.check()
            if self._mapped is None:
                self._mapped = np.load(self._source, mmap_mode="r", allow_pickle=False)
            return self._mapped
        return self._source

    _mapped = None

    def _where(self, name):
        where = f" in {self._source}" if isinstance(self._source, Path) else ""
        return f"The vectors of {name!r}{where}"

    def __getstate__(self):
        return {**self.__dict__, "_mapped": None}
