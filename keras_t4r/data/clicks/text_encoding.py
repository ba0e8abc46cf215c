"""Whether a text file of clicks is UTF-8, and its lines end as lines do."""

import codecs

from keras_t4r.files.packed import UNPACKING_ERRORS, open_unpacked

# Those of four bytes first, for one of them begins as one of two.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_LOOKED_AT = 1 << 16


def check_beginning(file):
    """Raises where a file begins as UTF-16 does, or where no line feed ends lines."""
    with open_unpacked(file) as data:
        begin = data.read(_LOOKED_AT)
    marked = [name for mark, name in _MARKS.items() if begin.startswith(mark)]
    encoding = marked[0] if marked else _unmarked(begin)
    if encoding:
        raise ValueError(
            f"{file} is {encoding} text, and not UTF-8: {_converted(encoding)}."
        )
    if b"\r" in begin.rstrip(b"\r") and b"\n" not in begin:
        raise ValueError(
            f"{file} ends its lines by carriage returns alone, and not by line feeds: "
            "convert it, as by tr '\\r' '\\n'."
        )


def not_utf8(file):
    """A sentence about the first line that is not UTF-8, or `None`."""
    try:
        with open_unpacked(file) as data:
            for number, line in enumerate(data, 1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    return (
                        f"Line {number} of {file} is not UTF-8 text (byte "
                        f"{line[error.start]:#04x}): {_converted('WINDOWS-1252')} "
                        "where that is what it is in."
                    )
    except UNPACKING_ERRORS:
        return None
    return None


def _converted(encoding):
    return f"convert it, as by iconv -f {encoding} -t UTF-8"


def _unmarked(begin):
    """UTF-16 of mostly Latin letters, whose every other byte is then zero."""
    for name, first in (("UTF-16LE", 1), ("UTF-16BE", 0)):
        zeros = begin[first::2].count(0), begin[1 - first :: 2].count(0)
        if zeros[0] > len(begin) // 4 and zeros[1] * 8 < zeros[0]:
            return name
    return ""
