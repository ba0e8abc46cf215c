"""What may be replaced: a folder of files that one function wrote, and of no others."""

import os
import re
from pathlib import Path

from keras_t4r.files.locks import is_left_lock
from keras_t4r.files.workshop import finish_or_clear

# What no path is.
NOTHING = "(?!)"


class Known:
    """The files that a function writes into a folder.

    Args:
        mark: string. The one that is always there, by its path in the folder.
        files: regular expression of the paths of all, with `/`; or a function of such
            a folder that gives it, where the names are in its files.
    """

    def __init__(self, mark, files):
        self.mark = mark
        self._files = files if callable(files) else lambda folder: files

    def check(self, folder):
        """Refuses a folder that holds what the function did not write.

        One that holds no file may be replaced. What killed writers left in it, and
        locks that nobody holds, are the package's own.

        Raises:
            FileExistsError: there is such a file, the first of which is named; the mark
                is missing; or it is no folder.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileExistsError(
                f"{folder} is no folder, so it was not written by this function, and "
                "it is not replaced: take another name, or remove it yourself."
            )
        if not (folder / self.mark).is_file():
            if next(_files(folder), None) is None:
                return
            raise FileExistsError(
                f"{folder} holds no {self.mark}, so it was not written by this "
                "function, and it is not replaced: take another name, or remove it "
                "yourself."
            )
        own = re.compile(self._files(folder))
        for file in _files(folder):
            name = file.relative_to(folder).as_posix()
            if not own.fullmatch(name):
                raise FileExistsError(
                    f"{folder} holds {name}, which was not written by this function "
                    "and would be gone: move it to another place, or take another "
                    "name. Nothing was changed."
                )


def does_not_say(folder, file):
    """The error where the file that names a folder's files is damaged."""
    return FileExistsError(
        f"{folder} is not replaced, for {file} in it is damaged and does not say which "
        "files belong to it: remove the folder yourself, or take another name."
    )


def one_of_names(names):
    """A regular expression of these names."""
    return "|".join(map(re.escape, sorted(names))) or NOTHING


def within(folder, files):
    """A regular expression of files in a folder, both regular expressions."""
    return f"(?:{folder})/(?:{files})"


def _files(folder):
    """All that a folder and those in it hold, by name; links are not followed."""
    finish_or_clear(folder)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _files(path)
        elif not is_left_lock(path):
            yield path
