"""Files and folders that appear whole under their names, or not at all.

Everything that the package writes goes through here. What is being written lies
under a name of its own, beside its target (so that a rename suffices in the end):
hidden, and told by `.new-` from what is done.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

_MARK = ".new-"


@contextmanager
def new_file(path):
    """A file that replaces the one at `path` when the block ends without an error.

    Args:
        path: path. Its folder is made if need be.

    Yields:
        The path to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        prefix=f".{path.name}{_MARK}", suffix=path.suffix, dir=path.parent
    )
    os.close(handle)
    temporary = Path(temporary)
    temporary.chmod(0o644)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Writes UTF-8 text; what was at `path` before is replaced."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(path, overwrite=False):
    """A folder that takes its name when the block ends without an error.

    Args:
        path: path. The folders above it are made if need be.
        overwrite: bool. Whether what is there is replaced. Up to the last moment it
            stays as it is.

    Yields:
        The path of an empty folder, to be filled.

    Raises:
        FileExistsError: there is something at `path`, and `overwrite` is false.
    """
    with new_folders([path], overwrite) as (folder,):
        yield folder


@contextmanager
def new_folders(paths, overwrite=False, beside=None):
    """Several folders that take their names together, in the order given.

    Args:
        paths: list of paths, of different names.
        overwrite: bool. As for `new_folder`.
        beside: path. What is being written lies in the folder that holds `beside`:
            for a place that others watch. By default it lies beside the first path.

    Yields:
        List of the paths of empty folders, to be filled.

    Raises:
        FileExistsError: there is something at a path, and `overwrite` is false.
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists already: take another name, or pass overwrite=True to "
                "replace it."
            )
    # Resolved, for a path such as "." has no name of its own.
    beside = Path(beside or paths[0]).resolve()
    for path in (*paths, beside):
        path.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(
        tempfile.mkdtemp(prefix=f".{beside.name}{_MARK}", dir=beside.parent)
    )
    try:
        folders = [workshop / path.name for path in paths]
        for folder in folders:
            folder.mkdir(mode=0o755)
        yield folders
        _take_names(folders, paths, workshop)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _take_names(folders, paths, workshop):
    """Renames, and takes it all back where one of them fails."""
    old, done = {}, []
    try:
        for folder, path in zip(folders, paths, strict=True):
            if path.exists():
                old[path] = workshop / f"{path.name}.old"
                os.replace(path, old[path])
            os.replace(folder, path)
            done.append((path, folder))
    except BaseException:
        for path, folder in done:
            os.replace(path, folder)
        for path, before in old.items():
            os.replace(before, path)
        raise


def remove_unfinished(folder):
    """Removes what killed writers left in a folder.

    Only for a folder with one writer: another's unfinished work would go, too.
    """
    for path in Path(folder).glob(f".*{_MARK}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
