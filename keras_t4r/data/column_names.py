"""The names of a table's columns: each is that of one."""


def check_once(names, where, read=None):
    """Raises `ValueError` where a column that is read stands twice.

    Args:
        names: list of strings. Those that there are.
        where: path, or string. What has them, at the beginning of a sentence.
        read: list of strings. Those that are read; all by default.
    """
    names = list(names)
    for name in names if read is None else read:
        if names.count(name) > 1:
            raise ValueError(
                f"{where} names column {name!r} twice: rename one of the two."
            )
