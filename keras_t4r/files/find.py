"""Which files a path, a folder or a pattern leads to: one rule for all readers."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from keras_t4r.files.packed import packing
from keras_t4r.files.paths import as_text

PARQUET_SUFFIXES = (".parquet", ".pq")
_WILDCARDS = set("*?[")


def is_parquet(file):
    return Path(file).suffix.lower() in PARQUET_SUFFIXES


def find_files(paths, is_data, what, beside=()):
    """Files that a path, folder, pattern, or a list of them leads to.

    In folders, and where a pattern finds more than was named, this is left out: names
    that start with `.` or `_` (what others are writing, or write beside their data),
    files that hold no byte (as Spark leaves them), and what `beside` names. Folders
    that a pattern finds, or that are links, are searched as folders are. A file is
    taken once, however many ways lead to it.

    Args:
        paths: path or list of paths.
        is_data: function of a path. Whether a file that was found in a folder is data.
        what: string. What the files hold, for the sentences.
        beside: strings. Names of folders that lie beside the data.

    Returns:
        List of paths: in the order given, those of a folder or a pattern by name.

    Raises:
        FileNotFoundError: a path leads to no file.
        TypeError: a path is none.
        ValueError: the list of paths is empty, a path can be none (see `as_path`), or a
            file of data is packed in a way that is not read: it is not passed over in
            silence.
    """
    if isinstance(paths, str | bytes | os.PathLike) or not isinstance(paths, Iterable):
        paths = [paths]
    found = []
    for text in [as_text(path, what) for path in paths]:
        path = Path(text)
        if path.is_dir():
            files = _in_folder(path, is_data, beside)
            why = f"The folder {path} holds no file of {what}, or empty ones only"
        elif path.exists():
            files, why = [path], None
        else:
            files = _of_pattern(text, is_data, beside)
            why = (
                f"No file matches the pattern {path}"
                if _WILDCARDS.intersection(text)
                else f"There is no file or folder {path}"
            )
        for file in files:
            _check_packing(file, is_data)
        if not files:
            raise FileNotFoundError(f"{why}; check where the {what} lie.")
        found += files
    if not found:
        raise ValueError(
            f"The list of paths is empty; name at least one file of {what}."
        )
    return _once(found)


def _once(files):
    """The files without those that are there already, by this or another name."""
    once = {}
    for file in files:
        once.setdefault(os.path.realpath(file), file)
    return list(once.values())


def _in_folder(folder, is_data, beside):
    def left_out(part):
        return part.startswith((".", "_")) or part in beside

    return sorted(
        file
        for file in _below(folder, left_out)
        if (is_data(file) or _is_packed(file, is_data))
        and file.is_file()
        and file.stat().st_size
    )


def _is_packed(file, is_data):
    """Whether it would be data if it were unpacked."""
    inside = file
    while packing(inside):
        inside = inside.with_suffix("")
    return is_data(inside) and not is_data(file)


def _check_packing(file, is_data):
    if _is_packed(file, is_data):
        raise ValueError(
            f"{file} is packed in a way that is not read ({file.suffix}): unpack it, "
            "or leave it out of the paths."
        )


def _below(folder, left_out):
    """Files of a folder and of those in it, also where they are links."""
    seen = set()
    for at, folders, files in os.walk(folder, followlinks=True):
        # A link may lead back to where it lies.
        seen.add(os.path.realpath(at))
        folders[:] = [
            name
            for name in sorted(folders)
            if not left_out(name) and os.path.realpath(Path(at, name)) not in seen
        ]
        yield from (Path(at, name) for name in files if not left_out(name))


def _of_pattern(pattern, is_data, beside):
    spelled = set(Path(pattern).parts)

    def left_out(part):
        return part not in spelled and (part.startswith((".", "_")) or part in beside)

    files = []
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if any(map(left_out, path.parts)):
            continue
        if path.is_dir():
            files += _in_folder(path, is_data, beside)
        elif path.is_file() and path.stat().st_size:
            files.append(path)
    return files
