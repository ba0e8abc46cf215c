"""Locks that end with the process that holds them, however it ends."""

import contextlib
import os
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none: there, nobody is kept out.
    fcntl = None

_PATIENCE = 30  # seconds
_LOCK = ".lock"


class Lock:
    """A lock on a file or folder that is there.

    Args:
        path: path.
        wait: bool. Whether to wait until nobody else has it; for half a minute, for
            that of a folder is held for moments only.

    Attributes:
        held: bool, or `None` where the system knows no such locks.
    """

    def __init__(self, path, wait=False):
        self._descriptor = None
        self.held = None
        if fcntl is None:
            return
        self._descriptor = os.open(path, os.O_RDONLY)
        until = time.monotonic() + (_PATIENCE if wait else 0)
        try:
            while not self._try() and time.monotonic() < until:
                time.sleep(0.01)
        except OSError:
            self.held = None  # a file system without locks

    def _try(self):
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except BlockingIOError:
            self.held = False
        return self.held

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
            if self.held:
                # Closing would leave it to a process that was forked meanwhile.
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.release()


def is_left_lock(path):
    """Whether a file is one that `hold` made, and nobody holds any more."""
    try:
        if path.name != _LOCK or path.stat().st_size:
            return False
        with Lock(path) as lock:
            return lock.held is not False
    except OSError:
        return False  # It is gone, or another user's.


@contextlib.contextmanager
def hold(folder, message):
    """Keeps others out of a folder while the block runs.

    Args:
        folder: path. It is made if need be.
        message: string. What whoever comes second is told.

    Raises:
        BlockingIOError: another process, or another thread, is in such a block.
    """
    path = Path(folder) / _LOCK
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
