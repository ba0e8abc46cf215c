"""Renames that never lose what stood at the target."""

import contextlib
import ctypes
import errno
import os

_NOREPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
# What a kernel or a file system says that has no such call.
_NOT_THERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def rename_new(source, target):
    """Renames a folder, where nothing is at the target.

    Raises:
        FileExistsError: there is something. Two that rename to one name at once: one
            of them gets this.
    """
    try:
        _renameat2(source, target, _NOREPLACE)
    except NotImplementedError:
        if os.path.lexists(target):
            raise FileExistsError(
                errno.EEXIST, os.strerror(errno.EEXIST), str(target)
            ) from None
        # Of folders, a rename replaces none that holds something.
        os.rename(source, target)


def exchange(new, target, aside):
    """Puts a folder at the target, and what was there to `new`.

    At every moment there is one of the two at the target. Where the file system cannot
    do that, what was there goes to `aside` first, and for a moment there is none.

    Args:
        new, target: paths of folders.
        aside: path where nothing is.
    """
    try:
        _renameat2(new, target, _EXCHANGE)
    except NotImplementedError:
        os.rename(target, aside)
        try:
            os.rename(new, target)
        except BaseException:
            os.rename(aside, target)
            raise
        with contextlib.suppress(OSError):
            os.rename(aside, new)


def _renameat2(source, target, flags):
    """Linux's call of that name, which glibc has since 2.28."""
    if os.name == "nt":
        raise NotImplementedError
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise NotImplementedError
    paths = os.fsencode(source), os.fsencode(target)
    if call(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], flags):
        number = ctypes.get_errno()
        if number in _NOT_THERE:
            raise NotImplementedError
        raise OSError(number, os.strerror(number), str(source), None, str(target))
