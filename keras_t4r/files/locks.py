"""Locks that end with the process that holds them, however it ends."""

import contextlib
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none: there, nobody is kept out.
    fcntl = None


class Lock:
    """A lock on a file or folder that is there.

    Args:
        path: path.
        wait: bool. Whether to wait until nobody else has it.

    Attributes:
        held: bool, or `None` where the system knows no such locks.
    """

    def __init__(self, path, wait=False):
        self._descriptor = None
        self.held = None
        if fcntl is None:
            return
        self._descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(
                self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
            )
            self.held = True
        except BlockingIOError:
            self.held = False
        except OSError:
            pass  # a file system without locks

    def is_on(self, path):
        """Whether what is at the path now is what was locked."""
        if self._descriptor is None:
            return True
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(path))
        except FileNotFoundError:
            return False

    def release(self):
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.release()


@contextlib.contextmanager
def hold(folder, message):
    """Keeps others out of a folder while the block runs.

    Args:
        folder: path. It is made if need be.
        message: string. What whoever comes second is told.

    Raises:
        BlockingIOError: another process, or another thread, is in such a block.
    """
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        path.touch()
        try:
            lock = Lock(path)
        except FileNotFoundError:
            continue
        if lock.held is False:
            lock.release()
            raise BlockingIOError(message)
        if lock.is_on(path):
            break
        lock.release()  # The one before removed the file just now.
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
