"""What is replaced holds what its writer wrote, and nothing else."""

import os
from contextlib import contextmanager

import numpy as np
import pytest

from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.files import Known, hold, new_folder, write_text
from keras_t4r.retrieval import ExactIndex

KNOWN = Known("mark", "mark|[0-9]+/data")


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def write(path, version="1"):
    with new_folder(path, overwrite=True, known_by=KNOWN) as folder:
        (folder / version).mkdir()
        (folder / version / "data").write_text(version)
        (folder / "mark").write_text("")


@contextmanager
def refused(folder, why):
    before = listing(folder)
    with pytest.raises(FileExistsError, match=why):
        yield
    assert listing(folder) == before


def test_ones_own_is_replaced(tmp_path):
    path = tmp_path / "out"
    (path / "empty").mkdir(parents=True)
    write(path)
    (path / "empty").mkdir()
    write(path, "2")
    assert listing(tmp_path) == ["out", "out/2", "out/2/data", "out/mark"]


@pytest.mark.parametrize(
    "name", ["notes", ".hidden", "1/notes", "one/data", "1/data/deep", "\u0661/data"]
)
def test_a_file_of_others_is_named_and_kept(tmp_path, name):
    path = tmp_path / "out"
    write(path, "7")
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("mine")
    with refused(path, f"out holds {name}, which was not written by this function"):
        write(path, "7")


def test_links_are_no_files_of_ones_own(tmp_path):
    write(tmp_path / "other")
    write(tmp_path / "out")
    (tmp_path / "out" / "2").symlink_to(tmp_path / "other" / "1")
    with refused(tmp_path, "out holds 2, which was not written"):
        write(tmp_path / "out")


def test_a_folder_without_the_mark_is_of_others(tmp_path):
    (tmp_path / "out" / "1").mkdir(parents=True)
    (tmp_path / "out" / "1" / "data").touch()
    with refused(tmp_path, "out holds no mark, so it was not written by this"):
        write(tmp_path / "out")
    with refused(tmp_path, "data is no folder, so it was not written by this"):
        write(tmp_path / "out" / "1" / "data")


def test_what_came_while_it_was_written_is_kept(tmp_path):
    path = tmp_path / "out"
    write(path)
    with (
        pytest.raises(FileExistsError, match="out holds notes, which was not"),
        new_folder(path, overwrite=True, known_by=KNOWN) as folder,
    ):
        (folder / "mark").touch()
        (path / "notes").write_text("mine")
    assert listing(tmp_path) == ["out", "out/1", "out/1/data", "out/mark", "out/notes"]


def in_a_child(run):
    child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(9)
    os.waitpid(child, 0)


def test_what_killed_writers_left_is_no_file_of_others(tmp_path):
    path = tmp_path / "out"
    write(path)

    def killed_among_renames():
        os.replace = lambda *arguments: os._exit(9)
        write_text(path / "1" / "data", "half")

    def killed_in_a_run():
        with hold(path / "1", "wait"):
            os._exit(9)

    in_a_child(killed_among_renames)
    in_a_child(killed_in_a_run)
    assert len(listing(path / "1")) > 2 and (path / "1" / ".lock").exists()
    with hold(path, "wait"), refused(path, r"out holds \.lock, which was not"):
        write(path)
    write(path)
    assert listing(path) == ["1", "1/data", "mark"]


CLICKS = {"s": [1, 1, 2, 2], "t": [1, 2, 3, 4], "i": [7, 8, 7, 9]}
CLICKS |= {"brand": ["a", "b", "a", "c"], "country": ["x", "x", "y", "y"]}
ETL = SessionETL(
    "s", "t", "i", ["brand"], context_categorical=["country"], time_unit="s"
)
INDEX = ExactIndex().build([1, 2], np.eye(2, dtype="float32"))
# What each writes, where it names its files, and whether it asks for leave.
WRITERS = {
    "write": (
        lambda path: ETL.write(CLICKS, path, overwrite=True, progress=False),
        "workflow/etl.json",
    ),
    "save": (lambda path: ETL.fit(CLICKS).save(path), "etl.json"),
    "index": (lambda path: INDEX.save(path, overwrite=True), "index.json"),
}
FOREIGN = {
    "write": ["model.keras", "1/notes", "workflow/a.parquet", "vocabularies/a.parquet"],
    "save": ["model.keras", "clicks.parquet"],
    "index": ["notes.txt", "queries.npy"],
}


@pytest.mark.parametrize("kind", WRITERS)
def test_writers_replace_what_they_wrote_only(tmp_path, kind):
    write, names = WRITERS[kind]
    path = tmp_path / "out"
    write(path)
    own = listing(path)
    write(path)
    assert listing(path) == own
    for name in FOREIGN[kind]:
        (path / name).write_text("mine")
        with refused(path, f"out holds {name}, which was not written"):
            write(path)
        (path / name).unlink()
    (path / names).write_text("{")
    with refused(path, "is damaged and does not say which files"):
        write(path)
