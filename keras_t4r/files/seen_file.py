"""A file that is read more than once, and has to be the same each time."""

import os
from contextlib import contextmanager


class SeenFile:
    """What a file is now: its size, when it was changed, and a digest of it.

    Args:
        path: path.
        whose: string. What is made of the file now.
        digest: function of a path that tells apart files of one size and time, or
            `None`. It is asked when the file was read for the first time.
    """

    def __init__(self, path, whose, digest=None):
        # The process may go to another folder.
        self._path = os.path.abspath(path)
        self._whose, self._digest = whose, digest
        self._told = None
        self._seen = self._state()

    def check(self):
        """Raises where it is another file now.

        Raises:
            FileNotFoundError: it was removed.
            ValueError: it was changed.
        """
        self._raise_unless(self._state() == self._seen)

    @contextmanager
    def reading(self):
        """A `with` in which the file is read: it has to be the same before and after.

        What a reader says of a file that changes under it would lead nowhere.
        """
        self.check()
        if self._told is not None:
            self._raise_unless(self._digest(self._path) == self._told)
        try:
            yield
        finally:
            self.check()
        if self._told is None and self._digest is not None:
            self._told = self._digest(self._path)

    def _state(self):
        try:
            now = os.stat(self._path)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self._path} was removed after {self._whose} was made: put it back, "
                f"and make {self._whose} again."
            ) from error
        return now.st_size, now.st_mtime_ns

    def _raise_unless(self, same):
        if not same:
            raise ValueError(
                f"{self._path} was replaced or changed after {self._whose} was made: "
                f"make {self._whose} again."
            )
