"""Names that may stand in a path."""

# File systems take 255 bytes; an ending and what new files are called need some.
_LONGEST = 200
# What a name lacks that is not plain, for errors.
PLAIN = f"no slash, no dot at its start, and {_LONGEST} bytes at most"


def is_plain(name):
    """Whether a name names a file in a folder, and nothing beside or above it."""
    return (
        bool(name)
        and not name.startswith(".")
        and not any(c in "/\\" or ord(c) < 32 for c in name)
        and len(name.encode("utf-8", "surrogatepass")) <= _LONGEST
    )


def is_number(name):
    """Whether a name is a number in the digits 0 to 9, as what counts folders."""
    return name.isascii() and name.isdigit()
