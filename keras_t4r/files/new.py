"""New files and folders, which take their names when they are whole."""

import contextlib
import errno
import os
from pathlib import Path

from keras_t4r.files.paths import as_path
from keras_t4r.files.workshop import Workshop

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENOTDIR)


@contextlib.contextmanager
def new_file(path):
    """A file that replaces the one at `path` when the block ends without an error.

    Args:
        path: path. Its folder is made if need be.

    Yields:
        The path to write to.

    Raises:
        IsADirectoryError: there is a folder of that name.
        OSError: the disk is full, or the place may not be written to.
        TypeError, ValueError: it is no path.
    """
    path = _absolute(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file to write.")
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        workshop = Workshop(path)
        try:
            # By its own name, for what it ends in may say how to write it.
            temporary = workshop.place(path)
            yield temporary
            os.replace(temporary, path)
        finally:
            workshop.close()


def write_text(path, text):
    """Writes UTF-8 text; what was at `path` before is replaced."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def new_folder(path, overwrite=False, known_by=None):
    """A folder that takes its name when the block ends without an error.

    Args:
        path: path. The folders above it are made if need be.
        overwrite: bool. Whether what is there is replaced. Up to the last moment it
            stays as it is.
        known_by: `Known`. The files that a folder may hold that is replaced, so that
            no other is lost. `None`: any.

    Yields:
        The path of an empty folder, to be filled.

    Raises:
        FileExistsError: there is something at `path`, and `overwrite` is false; or it
            holds what `known_by` does not know.
        BlockingIOError: another process is writing at `path`.
        OSError: the disk is full, or the place may not be written to.
        TypeError, ValueError: it is no path.
    """
    with new_folders([path], overwrite, known_by) as (folder,):
        yield folder


@contextlib.contextmanager
def new_folders(paths, overwrite=False, known_by=None, beside=None):
    """Several folders that take their names together: all of them, or none.

    Args:
        paths: list of paths, of different names. They take their names in this order.
        overwrite, known_by: as for `new_folder`.
        beside: path. What is being written lies in the folder that holds `beside`:
            for a place that others watch. By default it lies beside the first path.

    Yields:
        List of the paths of empty folders, to be filled.

    Raises:
        FileExistsError, BlockingIOError, OSError, TypeError, ValueError: as for
            `new_folder`.
    """
    paths = [_absolute(path) for path in paths]
    for path in paths:
        _check_replaceable(path, overwrite, known_by)
    beside = _absolute(beside or paths[0])
    with _told(paths[-1]):
        for path in (*paths, beside):
            path.parent.mkdir(parents=True, exist_ok=True)
        workshop = Workshop(beside, paths)
        try:
            folders = [workshop.place(path) for path in paths]
            for folder in folders:
                folder.mkdir(mode=0o755)
            yield folders
            if overwrite:
                # Writing may have taken long.
                for path in paths:
                    _check_replaceable(path, overwrite, known_by)
            workshop.commit(paths, overwrite)
        finally:
            workshop.close()


def _absolute(path):
    # `.` has no name of its own; links stay, for they are what is replaced.
    return Path(os.path.abspath(as_path(path, "what is to be written")))


def _check_replaceable(path, overwrite, known_by):
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"{path} exists already: take another name, or pass overwrite=True to "
            "replace it."
        )
    if known_by is not None:
        known_by.check(path)


@contextlib.contextmanager
def _told(path):
    """Says of a full disk, and of a place that is closed, what to do."""
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        # polars and Arrow have errors of their own for it.
        if number in _FULL or "No space left on device" in str(error):
            raise OSError(
                number or errno.ENOSPC,
                f"{path} could not be written, for the disk is full: make room, and "
                "run it again. What was there before is as it was.",
            ) from error
        if number in _REFUSED and _is_at(error, path.parent):
            raise type(error)(
                number,
                f"{path} could not be written ({os.strerror(number)}): take a place "
                "that you may write to. What was there before is as it was.",
            ) from error
        raise


def _is_at(error, folder):
    """Whether an error is about a folder, or something in it."""
    names = [error.filename, error.filename2]
    return any(str(name).startswith(str(folder)) for name in names if name)
