"""One rule of what is data, for clicks, sessions and baselines."""

import gzip

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import keras_t4r as t4r
from keras_t4r.data.loader.session_files import find_parquet
from keras_t4r.files.find import find_files, is_parquet

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


def zstd(text):
    return pa.compress(text, codec="zstd", asbytes=True)


def files_of(folder, *found):
    """What a folder of files holds, by their place below it."""
    for name in found:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        SESSIONS.write_parquet(path)
    return list(found)


def test_folders_that_are_links_are_searched_and_lead_nowhere_in_circles(tmp_path):
    data = files_of(tmp_path, "data/day=1/a.parquet", "other/b.parquet")
    (tmp_path / "data/day=2").symlink_to(tmp_path / "other")
    (tmp_path / "data/day=1/up").symlink_to(tmp_path / "data")
    data[1] = "data/day=2/b.parquet"
    assert names(tmp_path, find_files(tmp_path / "data", is_parquet, "data")) == data
    pattern = tmp_path / "data/*/*.parquet"
    assert names(tmp_path, find_files(pattern, is_parquet, "data")) == data


def test_suffixes_are_of_any_case_in_all_readers(tmp_path):
    files_of(tmp_path, "a.parquet", "B.PARQUET", "c.pq")
    assert len(find_parquet(tmp_path)) == 3
    assert len(t4r.ClickLog(tmp_path).files) == 3
    (tmp_path / "D.CSV").write_text("s,t,i\n1,1,7\n")
    (tmp_path / "E.TSV.GZ").write_bytes(gzip.compress(b"s\tt\ti\n1\t1\t7\n"))
    (tmp_path / "F.CSV.Zst").write_bytes(zstd(b"s,t,i\n1,1,7\n"))
    texts = [tmp_path / name for name in ("D.CSV", "E.TSV.GZ", "F.CSV.Zst")]
    log = t4r.ClickLog(texts)
    assert log.rows() == log.scan(["s"], {"s": "int64"}).collect().height == 3


def test_a_pattern_of_two_stars_searches_folders_too(tmp_path):
    data = files_of(tmp_path, "x/2024-01/a.parquet", "x/2024-02.parquet")
    for pattern in ("**/2024*", "x/*", "x/**", "**/*.parquet"):
        found = find_files(str(tmp_path / pattern), is_parquet, "data")
        assert names(tmp_path, found) == data


def test_a_file_is_taken_once_whatever_leads_to_it(tmp_path):
    data = files_of(tmp_path, "b.parquet", "a.parquet")
    (tmp_path / "link.parquet").symlink_to(tmp_path / "a.parquet")
    paths = [tmp_path / "b.parquet", tmp_path, f"{tmp_path}/*"]
    assert names(tmp_path, find_files(paths, is_parquet, "data")) == data


def test_what_is_no_path_is_refused():
    with pytest.raises(ValueError, match="The path of data is empty text"):
        find_files("", is_parquet, "data")
    for path in (1, b"a.parquet", (1, 2)):
        with pytest.raises(
            TypeError, match=r"The path of data is .*; it should be text"
        ):
            find_files([path], is_parquet, "data")


@pytest.mark.parametrize("packed", [".bz2", ".XZ", ".lz4", ".zip", ".gz.bz2"])
def test_data_in_another_packing_is_not_passed_over(packed, tmp_path):
    files_of(tmp_path, "day=1/a.parquet", f"day=2/b.parquet{packed}")
    for read in (find_parquet, t4r.ClickLog):
        for path in ("", "*", "day=2/*", f"day=2/b.parquet{packed}"):
            with pytest.raises(ValueError, match=rf"b\.parquet\{packed} .*unpack it"):
                read(tmp_path / path)
    (tmp_path / "day=2").rename(tmp_path / "_day=2")
    assert len(find_parquet(tmp_path)) == 1


def test_text_in_another_packing_is_not_passed_over(tmp_path):
    (tmp_path / "a.csv").write_text("s,t,i\n1,1,7\n")
    for name in ("b.csv.bz2", "c.tsv.xz", "d.dat.zip", "e.txt.zst.xz", "f.parquet.gz"):
        (tmp_path / name).write_bytes(b"packed")
        for path in (tmp_path, tmp_path / name, [tmp_path / "a.csv", tmp_path / "*"]):
            with pytest.raises(ValueError, match=f"{name} is packed in a way"):
                t4r.ClickLog(path)
        (tmp_path / name).unlink()
    # What holds no clicks in any packing is none of ours.
    (tmp_path / "notes.md.bz2").write_bytes(b"packed")
    assert len(t4r.ClickLog(tmp_path).files) == 1
