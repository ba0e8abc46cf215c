"""What is read is what was written, or an error."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.files.parquet import read_parquet, write_parquet
from keras_t4r.schema import Vocabulary


def flip(path, position, bit):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def test_no_flipped_bit_is_read_as_other_values(tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=400), "i": rng.integers(0, 9, 400)})
    path = tmp_path / "a.parquet"
    write_parquet(table, path)
    whole = path.read_bytes()
    silent = 0
    for _ in range(300):
        path.write_bytes(whole)
        flip(path, rng.integers(len(whole)), rng.integers(8))
        try:
            found = read_parquet(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        if found.column_names == table.column_names:
            silent += found.to_pydict() != table.to_pydict()
    assert silent == 0
    # As Arrow writes and reads by itself, some are.
    pq.write_table(table, path)
    whole = path.read_bytes()
    for _ in range(300):
        path.write_bytes(whole)
        flip(path, rng.integers(len(whole) // 2), rng.integers(8))
        try:
            silent += pq.read_table(path).to_pydict() != table.to_pydict()
        except (OSError, pa.ArrowException):
            continue
    assert silent > 0


def test_everything_that_is_written_has_checksums(tmp_path):
    clicks = {"s": [1, 1, 2, 2], "t": [1, 2, 3, 4], "i": [7, 8, 7, 9]}
    SessionETL("s", "t", "i", time_unit="s").write(
        clicks, tmp_path / "sessions", progress=False
    )
    Vocabulary(["a", "b"], name="word").save(tmp_path / "word.parquet")
    files = sorted(tmp_path.rglob("*.parquet"))
    assert len(files) == 4
    for path in files:
        whole, found = path.read_bytes(), 0
        for position in range(4, len(whole) // 3):
            path.write_bytes(whole)
            flip(path, position, 1)
            try:
                read_parquet(path)
            except ValueError as error:
                found += "CRC" in str(error)
        assert found, path
