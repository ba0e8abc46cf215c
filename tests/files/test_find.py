"""One rule of what is data, for clicks, sessions and baselines."""

import numpy as np
import polars as pl
import pytest

import keras_t4r as t4r
from keras_t4r.data.loader.session_files import find_parquet
from keras_t4r.files.find import find_files

SESSIONS = pl.DataFrame({"item_id": [[2, 3], [3, 2, 4]]})
SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, 9),
            value_count=(1, 8),
        ),
    )
)


@pytest.fixture
def folder(tmp_path):
    """What Spark, editors and our own writers leave beside data."""
    for name in (
        "part-0.parquet",
        "day=2/part-0.parquet",
        "_temporary/0/part-1.parquet",
        ".sessions.new-abc/new/sessions/part-2.parquet",
        ".part-0.parquet.crc",
        "._part-0.parquet",
        "_SUCCESS",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        SESSIONS.write_parquet(path)
    (tmp_path / "part-1.parquet").touch()
    (tmp_path / "notes.md").write_text("no data")
    return tmp_path


def names(folder, files):
    return [str(path.relative_to(folder)) for path in files]


def is_parquet(path):
    return path.suffix == ".parquet"


def test_hidden_temporary_and_empty_files_are_no_data(folder):
    data = ["day=2/part-0.parquet", "part-0.parquet"]
    assert names(folder, find_files(folder, is_parquet, "data")) == data
    assert names(folder, find_files(folder / "*", is_parquet, "data"))[:1] == data[:1]
    assert (
        names(folder, find_files(folder / "*.parquet", is_parquet, "data")) == data[1:]
    )
    assert names(folder, find_files(folder / "day=*", is_parquet, "data")) == data[:1]
    # Who names a file means it.
    hidden = "._part-0.parquet"
    assert names(folder, find_files(folder / hidden, is_parquet, "data")) == [hidden]


def test_all_readers_find_the_same(folder):
    loader = t4r.KerasSequenceLoader(folder, SCHEMA, 4)
    assert loader.num_sessions == 4
    baseline = t4r.training.baselines.Popularity(SCHEMA)
    baseline.update(folder)
    once = t4r.training.baselines.Popularity(SCHEMA)
    once.update(find_parquet(folder))
    batch = {"item_id": np.array([[2, 3]])}
    np.testing.assert_array_equal(baseline.predict(batch), once.predict(batch))
    for path in folder.rglob("*.parquet"):
        if path.stat().st_size:
            clicks = pl.DataFrame({"s": [1, 1], "t": [1, 2], "i": [7, 8]})
            clicks.write_parquet(path)
    assert len(t4r.ClickLog(folder).files) == 2


def test_a_folder_of_the_parts_of_a_split_is_asked_for_one(tmp_path):
    for name in ("train", "valid", "test"):
        SESSIONS.write_parquet(tmp_path / f"{name}.parquet")
    baseline = t4r.training.baselines.Popularity(SCHEMA)
    for read in (lambda p: t4r.KerasSequenceLoader(p, SCHEMA, 2), baseline.update):
        for path in (tmp_path, tmp_path.parent / f"{tmp_path.name}*"):
            with pytest.raises(ValueError, match="holds the parts of a split"):
                read(path)
        read(tmp_path / "train.parquet")
        # Who names them all means them all.
        read([tmp_path / f"{name}.parquet" for name in ("train", "valid")])
