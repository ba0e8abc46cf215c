"""A digest tells a file from all others."""

import pyarrow as pa
import pytest

from keras_t4r.files.digest import file_digest, footer_digest
from keras_t4r.files.parquet import write_parquet


def test_a_digest_tells_files_apart(tmp_path):
    path, digests = tmp_path / "a.parquet", set()
    # The second has the size and the footer of the first: the same values, two of a
    # session in another order.
    for values in ([[1, 2, 3]], [[2, 1, 3]], [[1, 2, 4]], [[1, 2]]):
        write_parquet(pa.table({"i": values}), path)
        digests.add(file_digest(path))
        assert file_digest(path) in digests
    assert len(digests) == 4
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "b.parquet")


def test_the_footer_tells_values_from_others(tmp_path):
    path, digests = tmp_path / "a.parquet", set()
    for values in ([1, 2, 3], [1, 2, 4], [1, 2]):
        write_parquet(pa.table({"i": values}), path)
        digests.add(footer_digest(path))
        assert footer_digest(path) in digests
    assert len(digests) == 3
