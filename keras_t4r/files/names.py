"""Names that may stand in a path."""


def is_plain(name):
    """Whether a name names a file in a folder, and nothing beside or above it."""
    return (
        bool(name)
        and not name.startswith(".")
        and not any(c in "/\\" or ord(c) < 32 for c in name)
    )
