"""Files that are packed as a whole, as the end of their names says."""

import gzip
import io
import zlib
from pathlib import Path

import pyarrow as pa

_ZSTD = (".zst", ".zstd")
# What readers of text unpack on their way.
READ_PACKED = (".gz", *_ZSTD)
PACKED = (
    *READ_PACKED,
    *(".gzip", ".bz2", ".bzip2", ".xz", ".lzma", ".lz4", ".br", ".z", ".zz", ".zip"),
    *(".7z", ".rar", ".sz", ".snappy", ".lzo"),
)

# What `open_unpacked` and reading from it end in where a file is damaged.
UNPACKING_ERRORS = (OSError, EOFError, zlib.error)


def packing(file):
    """The suffix that says how a file is packed, in lower case, or `None`."""
    suffix = Path(file).suffix.lower()
    return suffix if suffix in PACKED else None


def open_unpacked(file):
    """A stream of a file's bytes, unpacked where it is packed as `READ_PACKED` has."""
    kind = packing(file)
    if kind == ".gz":
        return gzip.open(file, "rb")
    if kind in _ZSTD:
        return io.BufferedReader(pa.input_stream(str(file), compression="zstd"))
    return open(file, "rb")
