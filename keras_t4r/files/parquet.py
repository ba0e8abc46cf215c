"""Parquet files with a checksum in each page, which is looked at when they are read.

Without, a bit that flips on the disk is read as another number one time in four.
"""

import pyarrow as pa
import pyarrow.parquet as pq

from keras_t4r.files.sentences import first_line

_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)


def write_parquet(table, path, **arguments):
    """Writes a `pyarrow.Table`; see `pyarrow.parquet.write_table`."""
    pq.write_table(table, path, write_page_checksum=True, **arguments)


def read_parquet(path, remedy="write it again", **arguments):
    """Reads a file as a `pyarrow.Table`; see `pyarrow.parquet.read_table`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not parquet, or damaged.
    """
    with open_parquet(path, remedy) as file, reading_parquet(path, remedy):
        return file.read(**arguments)


def open_parquet(path, remedy="write it again"):
    """A `pyarrow.parquet.ParquetFile` that looks at checksums."""
    with reading_parquet(path, remedy):
        return pq.ParquetFile(path, page_checksum_verification=True)


def check_whole(path, columns):
    """Reads columns once and lets them go, for Arrow says of damage what it is.

    Other readers take the process down with them: polars asks for as much memory as
    a damaged page says it holds.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for _ in file.iter_batches(1 << 16, columns=list(columns)):
            pass


class reading_parquet:
    """Turns what Arrow says of a damaged file into one sentence."""

    def __init__(self, path, remedy="write it again"):
        self._path, self._remedy = path, remedy

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, _DAMAGED) and not isinstance(error, FileNotFoundError):
            raise ValueError(
                f"{self._path} cannot be read as parquet, it may be cut short or "
                f"damaged ({first_line(error)}): {self._remedy}."
            ) from error
