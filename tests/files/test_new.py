"""Files and folders take their names whole, or nothing of them is left."""

import errno
import os
import sys
import threading

import pytest

from keras_t4r.files import (
    finish_or_clear,
    hold,
    new_file,
    new_folder,
    new_folders,
    write_text,
)
from keras_t4r.files import renames as renames_module
from keras_t4r.files import workshop as workshop_module


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def fill(folders, version):
    for folder in folders:
        (folder / "version").write_text(version)


@pytest.fixture(params=["one call", "two renames"])
def renames(request, monkeypatch):
    """With the kernel's call, and where the file system has none."""
    if request.param == "two renames":

        def missing(*arguments):
            raise NotImplementedError

        monkeypatch.setattr(renames_module, "_renameat2", missing)
    return request.param


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


def test_a_folder_appears_when_it_is_full(tmp_path, renames):
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


@pytest.mark.parametrize("failing", ["whole", "part"])
def test_several_folders_take_their_names_together(
    tmp_path, monkeypatch, renames, failing
):
    place = tmp_path / "models"
    paths = [place / "part", place / "whole", place / "new"]
    with new_folders(paths[:2], beside=place) as folders:
        fill(folders, "1")
        assert listing(place) == []
    before = listing(place)
    exchange = workshop_module.exchange

    def fail(new, target, aside):
        if target.name == failing:
            raise OSError(errno.EIO, "the disk is gone")
        return exchange(new, target, aside)

    monkeypatch.setattr(workshop_module, "exchange", fail)
    with (
        pytest.raises(OSError, match="disk is gone"),
        new_folders(paths, overwrite=True) as folders,
    ):
        fill(folders, "2")
    assert listing(place) == before and listing(tmp_path)[0] == "models"
    assert (place / "part" / "version").read_text() == "1"


def test_where_renames_fail_back_and_forth_nothing_is_lost(tmp_path, monkeypatch):
    paths = [tmp_path / "part", tmp_path / "whole"]
    with new_folders(paths) as folders:
        fill(folders, "1")
    exchange = workshop_module.exchange
    calls = []

    def fail_after_the_first(new, target, aside):
        calls.append(target)
        if len(calls) > 1:
            raise OSError(errno.EIO, "the disk is gone")
        return exchange(new, target, aside)

    monkeypatch.setattr(workshop_module, "exchange", fail_after_the_first)
    with (
        pytest.raises(OSError, match="disk is gone"),
        new_folders(paths, overwrite=True) as folders,
    ):
        fill(folders, "2")
    versions = sorted(p.read_text() for p in tmp_path.rglob("version"))
    assert versions == ["1", "1", "2", "2"]
    # The disk is there again.
    monkeypatch.setattr(workshop_module, "exchange", exchange)
    finish_or_clear(tmp_path)
    assert [p.read_text() for p in tmp_path.rglob("version")] == ["2", "2"]
    assert len(listing(tmp_path)) == 4


def in_a_child(run):
    """Runs a function in a process of its own; returns its exit status."""
    child = os.fork()
    if not child:
        try:
            run()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_and_die(place, moment, one_call):
    """Overwrites three folders, and dies before one of its calls."""
    count = 0

    def mortal(function):
        def call(*arguments, **keywords):
            nonlocal count
            if count == moment:
                os._exit(9)
            count += 1
            return function(*arguments, **keywords)

        return call

    if one_call:
        renames_module._renameat2 = mortal(renames_module._renameat2)
    for name in ("rename", "replace", "mkdir", "unlink", "rmdir"):
        setattr(os, name, mortal(getattr(os, name)))
    with new_folders([place / name for name in "abc"], overwrite=True) as folders:
        fill(folders, "2")


def test_a_kill_at_any_call_leaves_all_old_or_all_new(tmp_path, renames):
    ends = set()
    for moment in range(99):
        place = tmp_path / str(moment)
        with new_folders([place / name for name in "ab"]) as folders:
            fill(folders, "1")
        status = in_a_child(
            lambda place=place, moment=moment: write_and_die(
                place, moment, renames == "one call"
            )
        )
        assert status in (0, 9)
        finish_or_clear(place)
        assert listing(place)[0] == "a", "something is left"
        found = {p.parent.name: p.read_text() for p in place.rglob("version")}
        old, new = {"a": "1", "b": "1"}, dict.fromkeys("abc", "2")
        assert found in ([old, new] if status else [new]), moment
        assert len(listing(place)) == 2 * len(found), "something is left"
        ends.add(tuple(found.values()))
        if not status:
            break
    # Before 3.11 Python removes a folder in fewer calls.
    least = 20 if sys.version_info >= (3, 11) else 10
    assert not status and moment > least and len(ends) == 2


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path):
    def killed():
        with new_folder(tmp_path / "sessions") as folder:
            (folder / "half").write_text("half")
            os._exit(9)

    assert in_a_child(killed) == 9
    assert len(list(tmp_path.iterdir())) == 1
    # Of another name, too.
    with new_folder(tmp_path / "others"):
        pass
    assert listing(tmp_path) == ["others"]


def test_of_two_writers_the_second_is_told_so(tmp_path):
    path = tmp_path / "sessions"
    with new_folder(path) as folder:
        (folder / "mine").write_text("1")
        with (
            pytest.raises(BlockingIOError, match="sessions is being written by"),
            new_folder(path),
        ):
            raise AssertionError
        with new_folder(tmp_path / "others"):
            pass
    assert listing(tmp_path) == ["others", "sessions", "sessions/mine"]


def test_what_appeared_meanwhile_is_not_replaced(tmp_path, renames):
    path = tmp_path / "sessions"
    with (
        pytest.raises(FileExistsError, match="exists by now"),
        new_folder(path) as folder,
    ):
        (folder / "mine").write_text("1")
        path.mkdir()
        (path / "theirs").write_text("2")
    assert listing(tmp_path) == ["sessions", "sessions/theirs"]


def test_a_full_disk_is_one_sentence(tmp_path):
    path = tmp_path / "sessions"
    with (
        pytest.raises(OSError, match="sessions could not be written, for the disk is"),
        new_folder(path) as folder,
    ):
        (folder / "a").write_text("a")
        with open("/dev/full", "w") as full:
            full.write("b" * 100_000)
    assert listing(tmp_path) == []


def test_a_place_that_is_closed_is_one_sentence():
    with (
        pytest.raises(OSError, match="/sys/sessions could not be written"),
        new_folder("/sys/sessions"),
    ):
        raise AssertionError


def test_a_folder_is_held_by_one(tmp_path):
    found = []

    def second():
        try:
            with hold(tmp_path, "wait"):
                found.append("in")
        except BlockingIOError as error:
            found.append(str(error))

    with hold(tmp_path, "wait"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    second()
    assert found == ["wait", "in"]
    assert listing(tmp_path) == []


def test_hidden_folders_of_others_stay(tmp_path):
    for name in (".mine.new-ideas", ".new-", ".a.new-b", ".c.new-abcdefgh"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine")
    (tmp_path / ".c.new-abcdefgh" / "about.json").write_text("{}")
    (tmp_path / ".empty.new-ideas").mkdir()
    before = listing(tmp_path)
    write_text(tmp_path / "note.txt", "hi")
    finish_or_clear(tmp_path)
    assert listing(tmp_path) == sorted([*before, "note.txt"])


@pytest.mark.parametrize("name", ["new", "old", "commit.json", "about.json"])
def test_files_may_have_any_name(tmp_path, name):
    write_text(tmp_path / name, "hi")
    assert listing(tmp_path) == [name]
