import os

import pytest

from keras_t4r.files import (
    new_file,
    new_folder,
    new_folders,
    remove_unfinished,
    write_text,
)


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "deep" / "note.txt"
    write_text(path, "one é")
    with pytest.raises(ZeroDivisionError), new_file(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text(encoding="utf-8") == "one é"
    assert listing(path.parent) == ["note.txt"]
    write_text(path, "two")
    assert path.read_text() == "two"


def test_a_folder_appears_when_it_is_full(tmp_path):
    path = tmp_path / "sessions"
    with new_folder(path) as folder:
        (folder / "a").write_text("a")
        assert not path.exists()
    assert listing(tmp_path) == ["sessions", "sessions/a"]
    assert path.stat().st_mode & 0o777 == 0o755
    with (
        pytest.raises(FileExistsError, match="sessions exists already"),
        new_folder(path),
    ):
        raise AssertionError
    with pytest.raises(ZeroDivisionError), new_folder(path, overwrite=True) as folder:
        (folder / "b").write_text("b")
        raise ZeroDivisionError
    assert listing(tmp_path) == ["sessions", "sessions/a"]
    with new_folder(path, overwrite=True) as folder:
        (folder / "b").write_text("b")
    assert listing(tmp_path) == ["sessions", "sessions/b"]


def test_several_folders_take_their_names_together(tmp_path, monkeypatch):
    place = tmp_path / "models"
    paths = [place / "part", place / "whole"]
    with new_folders(paths, beside=place) as folders:
        for folder in folders:
            (folder / "version").write_text("1")
        assert listing(place) == []
    before = listing(place)
    rename = os.replace

    def fail_at_the_last(source, target):
        if str(target).endswith("whole") and source.name == "whole":
            raise OSError("the disk is gone")
        return rename(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_last)
    with (
        pytest.raises(OSError, match="disk is gone"),
        new_folders(paths, overwrite=True) as folders,
    ):
        for folder in folders:
            (folder / "version").write_text("2")
    assert listing(place) == before and listing(tmp_path)[0] == "models"
    assert (place / "part" / "version").read_text() == "1"


def test_what_a_killed_writer_left_can_be_removed(tmp_path):
    def killed():
        with new_folder(tmp_path / "checkpoint-1") as folder:
            (folder / "variables").write_text("half")
            yield

    writer = killed()
    next(writer)
    (tmp_path / "checkpoint-0").mkdir()
    assert len(list(tmp_path.iterdir())) == 2
    remove_unfinished(tmp_path)
    assert listing(tmp_path) == ["checkpoint-0"]
    with pytest.raises(FileNotFoundError):
        next(writer)
