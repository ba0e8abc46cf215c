"""Which files a path, a folder or a pattern leads to: one rule for all readers."""

import glob
import os
from pathlib import Path

_WILDCARDS = set("*?[")


def find_files(paths, is_data, what, beside=()):
    """Files that a path, folder, pattern, or a list of them leads to.

    In folders, and where a pattern finds more than was named, this is left out: names
    that start with `.` or `_` (what others are writing, or write beside their data),
    files that hold no byte (as Spark leaves them), and what `beside` names. Folders
    that a pattern finds are searched as folders are.

    Args:
        paths: path or list of paths.
        is_data: function of a path. Whether a file that was found in a folder is data.
        what: string. What the files hold, for the sentences.
        beside: strings. Names of folders that lie beside the data.

    Returns:
        List of paths: in the order given, those of a folder or a pattern by name.

    Raises:
        FileNotFoundError: a path leads to no file.
        ValueError: the list of paths is empty.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found = []
    for text in map(os.fspath, paths):
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
        if not files:
            raise FileNotFoundError(f"{why}; check where the {what} lie.")
        found += files
    if not found:
        raise ValueError(
            f"The list of paths is empty; name at least one file of {what}."
        )
    return found


def _in_folder(folder, is_data, beside):
    def left_out(part):
        return part.startswith((".", "_")) or part in beside

    return sorted(
        file
        for file in folder.rglob("*")
        if is_data(file)
        and file.is_file()
        and file.stat().st_size
        and not any(map(left_out, file.relative_to(folder).parts))
    )


def _of_pattern(pattern, is_data, beside):
    spelled = set(Path(pattern).parts)

    def left_out(part):
        return part not in spelled and (part.startswith((".", "_")) or part in beside)

    files = []
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if any(map(left_out, path.parts)):
            continue
        if path.is_dir():
            files += [] if "**" in pattern else _in_folder(path, is_data, beside)
        elif path.is_file() and path.stat().st_size:
            files.append(path)
    return files
