"""Workshops: where folders lie until they take their names, and what kills leave.

A workshop is a hidden folder beside the targets, `.NAME.new-…`, locked by its writer
for as long as that lives. It holds

- `about.json`: the targets, so that nobody else writes them meanwhile;
- `new/NAME`, what is being written, under the name that it is to take;
- `commit.json`, once all of it is whole: from here on it takes its names. If the
  writer is killed among these renames, whoever comes next does the rest of them; if it
  is killed before, whoever comes next removes the workshop.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from keras_t4r.files.locks import Lock
from keras_t4r.files.renames import exchange, rename_new

_MARK = ".new-"
# As `tempfile.mkdtemp` names them.
_NAME = re.compile(r"\..*\.new-[a-z0-9_]{8}")
_ABOUT, _COMMIT = "about.json", "commit.json"
_NEW, _OLD = "new", "old"
_FORMAT = "keras_t4r.Workshop/1"


class Workshop:
    """An open workshop.

    What others left beside it is finished or cleared first.

    Args:
        beside: absolute path. The workshop is made in the folder that holds it.
        targets: list of absolute paths, which nobody else may write meanwhile.

    Raises:
        BlockingIOError: another writer is at one of the targets.
    """

    def __init__(self, beside, targets=()):
        with Lock(beside.parent, wait=True) as lock:
            if lock.held is False:
                raise BlockingIOError(
                    f"{beside.parent} is locked by another process, and stays so: wait "
                    "for it, or take another place."
                )
            for other in _workshops(beside.parent):
                if _end(other) is False:
                    _refuse_same(other, targets)
            # A name of the greatest length would be too long with more around it.
            prefix = f".{beside.name[:50]}{_MARK}"
            self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=beside.parent))
            self._lock = Lock(self.folder)
            about = {"format": _FORMAT, "targets": [str(path) for path in targets]}
            try:
                text = json.dumps(about)
                (self.folder / _ABOUT).write_text(text, encoding="utf-8")
                (self.folder / _NEW).mkdir()
                (self.folder / _OLD).mkdir()
            except BaseException:
                self.close()
                raise

    def place(self, target):
        """Where what is to stand at a target lies until then."""
        return self.folder / _NEW / target.name

    def commit(self, targets, overwrite):
        """Gives the new folders their names, all or none.

        Raises:
            FileExistsError: there is something at a target, and `overwrite` is false.
        """
        plan = [
            {
                "target": str(target),
                "inode": self.place(target).stat().st_ino,
                "overwrite": overwrite,
            }
            for target in targets
        ]
        note, part = self.folder / _COMMIT, self.folder / f"{_COMMIT}.part"
        part.write_text(json.dumps(plan), encoding="utf-8")
        _to_disk(self.folder)
        os.replace(part, note)
        done = []
        try:
            for step in plan:
                done.append((step, _take_name(self.folder, step)))
        except BaseException:
            for step, replaced in reversed(done):
                _give_back(self.folder, step, replaced)
            note.unlink()
            raise

    def close(self):
        """Removes the workshop; but not where renames failed forwards and back."""
        with self._lock:
            _clear(self.folder)


def finish_or_clear(folder):
    """Does what killed writers left to be done in a folder.

    Whatever had been written whole takes its name; what had not is removed. What
    others are writing now is left alone.
    """
    folder = Path(folder)
    if folder.is_dir() and _workshops(folder):
        with Lock(folder, wait=True):
            for workshop in _workshops(folder):
                _end(workshop)


def _workshops(folder):
    """Those of this module, for others may have hidden folders of such a name.

    One that holds nothing was about to be filled, or to go.
    """
    named = (p for p in folder.glob(f".*{_MARK}*") if _NAME.fullmatch(p.name))
    return sorted(p for p in named if _about(p) is not None or _is_empty(p))


def _is_empty(folder):
    try:
        return folder.is_dir() and not any(folder.iterdir())
    except OSError:
        return False


def _about(workshop):
    """The targets of a workshop, or `None` where the folder is none."""
    try:
        about = json.loads((workshop / _ABOUT).read_text(encoding="utf-8"))
        return about["targets"] if about["format"] == _FORMAT else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _end(workshop):
    """Finishes or clears a workshop; false where its writer lives."""
    try:
        lock = Lock(workshop)
    except (FileNotFoundError, PermissionError):
        return None  # It is gone, or another user's.
    with lock:
        if lock.held:
            _clear(workshop)
        return lock.held


def _clear(workshop):
    if (workshop / _COMMIT).exists():
        try:
            _finish(workshop)
        except OSError:
            return  # It holds the only copy of something; the next one may succeed.
    # What tells it from others' folders goes last, should this be interrupted.
    for name in (_OLD, _NEW):
        shutil.rmtree(workshop / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        for name in (f"{_COMMIT}.part", _COMMIT, _ABOUT):
            (workshop / name).unlink(missing_ok=True)
        workshop.rmdir()


def _finish(workshop):
    """Does the renames that are left of a commit."""
    for step in json.loads((workshop / _COMMIT).read_text(encoding="utf-8")):
        with contextlib.suppress(FileNotFoundError):
            target = Path(step["target"])
            if (workshop / _NEW / target.name).stat().st_ino == step["inode"]:
                _take_name(workshop, step)


def _refuse_same(workshop, targets):
    taken = _about(workshop) or ()  # Its writer may have removed it just now.
    for target in targets:
        if str(target) in taken:
            raise BlockingIOError(
                f"{target} is being written by another process: wait for it, or take "
                "another name."
            )


def _take_name(workshop, step):
    """Returns whether something was replaced; it is in the workshop then."""
    target = Path(step["target"])
    new, old = workshop / _NEW / target.name, workshop / _OLD / target.name
    while True:
        try:
            if step["overwrite"] and os.path.lexists(target):
                exchange(new, target, old)
                return True
            rename_new(new, target)
            return False
        except FileExistsError:
            if not step["overwrite"]:
                raise FileExistsError(
                    f"{target} exists by now, another process wrote it: take another "
                    "name, or pass overwrite=True to replace it."
                ) from None
        except FileNotFoundError:
            # Whoever removed the target meanwhile: it is free now.
            if not new.exists() or not target.parent.exists():
                raise


def _give_back(workshop, step, replaced):
    target = Path(step["target"])
    new, old = workshop / _NEW / target.name, workshop / _OLD / target.name
    if replaced:
        exchange(new, target, old)
    else:
        os.rename(target, new)


def _to_disk(folder):
    """Waits until all that lies in a folder is on the disk, and not on its way."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        with contextlib.suppress(OSError):  # a file system without it, or Windows
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
