"""How a text file of clicks is to be read, and how many clicks stand in it."""

import functools
import io
import re
from dataclasses import dataclass

import polars as pl

from keras_t4r.data.clicks.text_encoding import check_beginning
from keras_t4r.files.packed import open_unpacked, packing

_LINE = "__line"
_SEPARATORS = "\t,;|"
# What `ClickLog(quote=…)` says where the file is to decide.
AUTO = "auto"
_SETTLE = (
    "pass ClickLog(path, quote=None) where quotes are plain text, or quote='\"' where "
    "a quoted field may run over several lines"
)


def check_marks(separator, quote):
    """Raises where what is to separate or to enclose fields cannot do so."""
    given = {"separator": (separator, (None,)), "quote": (quote, (AUTO, None))}
    for name, (mark, others) in given.items():
        if isinstance(mark, str | None) and mark in others:
            continue
        if not isinstance(mark, str):
            raise TypeError(f"{name} is {mark!r}; it should be text of one character.")
        if len(mark) != 1 or not mark.isascii() or mark in "\r\n\0":
            raise ValueError(
                f"{name} is {mark!r}; it should be one character of ASCII, and no line "
                "break: write the file with another."
            )
    if separator is not None and separator == ('"' if quote == AUTO else quote):
        raise ValueError(
            f"separator is {separator!r}, which encloses fields: pass another."
        )


@dataclass(frozen=True)
class TextDialect:
    """What was found out about one file.

    Args:
        separator: string, one character.
        quote: string, or `None` where quotes are plain text.
        header: tuple of strings. The fields of the first line.
        rows: int. Lines that hold clicks or names, the first among them.
        blanks: int. Lines without a character, which hold none.
    """

    separator: str
    quote: str | None
    header: tuple
    rows: int
    blanks: int

    @classmethod
    def of(cls, file, separator=None, quote=AUTO):
        """Looks at every line of a file once.

        A quote opens and closes a field where each line that has one is then whole by
        itself and has as many fields as the first. Where that is not so, but all lines
        have as many fields if quotes are plain text, and no field stands within quotes
        from end to end, then they are.

        Args:
            file: path.
            separator: string, or `None` for the most frequent in the first line.
            quote: `"auto"`, a string of one character, or `None`; both as
                `check_marks` has them.

        Raises:
            ValueError: a line has more or fewer fields than the first; or it is not
                clear what the quotes mean; or it is no UTF-8, or has no line feeds.
        """
        _check_packed(file)
        check_beginning(file)
        first = _first_line(file)
        separator = separator or max(_SEPARATORS, key=first.count)
        if quote not in (AUTO, None):
            return cls._quoted(file, separator, quote)
        header = _fields(first, separator, None)
        plain = _Lines(file, separator, len(header))
        if quote == AUTO and plain.quotes:
            unquoted = _fields(first, separator, '"')
            inside = _Lines(file, separator, len(unquoted), whole=True)
            if inside.bad is None:
                return cls(separator, '"', unquoted, inside.rows, inside.blanks)
            if inside.escaped is not None:
                raise ValueError(
                    f"Line {inside.escaped + 1} of {file} has a quote after a backslash"
                    " within a quoted field, as some databases write it: write quotes "
                    'doubled (""), or the log as parquet, or pass ClickLog(path, '
                    "quote=None) where quotes and backslashes are plain text."
                )
            if plain.bad is not None or inside.whole_fields:
                raise ValueError(
                    f"Line {inside.bad + 1} of {file} has a quote that is not the "
                    f"beginning and end of a field, or another number of fields than "
                    f"the first line: {_SETTLE}."
                )
        if plain.bad is not None:
            raise ValueError(
                f"Line {plain.bad + 1} of {file} does not have {len(header)} fields, "
                f"separated by {separator!r}, as its first line has: mend it, or pass "
                "ClickLog(path, separator=…) if that is not what separates fields."
            )
        return cls(separator, None, header, plain.rows, plain.blanks)

    @classmethod
    def _quoted(cls, file, separator, quote):
        """Reads it as RFC 4180 has it, where a field may hold line breaks.

        Other than `csv`, polars takes a quote within a field for the beginning of one,
        and swallows what follows: no such quote may pass.
        """
        rows = blanks = 0
        header = ()
        for number, record in _records(file, quote):
            if not record:
                blanks += 1
                continue
            rows += 1
            header = header or _fields(record, separator, quote)
            fault = _fault(record, separator, quote, len(header))
            if fault:
                raise ValueError(
                    f"Line {number} of {file} cannot be read ({fault}); the first line "
                    f"has {len(header)} fields, quoted with {quote}: mend it, or pass "
                    "ClickLog(path, quote=None) where quotes are text."
                )
        return cls(separator, quote, header, rows, blanks)


class _Lines:
    """Counts of the lines of a file: how many, blank, with quotes; the first bad one.

    Args:
        file: path.
        separator: string.
        width: int. Fields that a line should have.
        whole: bool. Whether quotes are to enclose fields, so that separators between
            them count for nothing.
    """

    def __init__(self, file, separator, width, whole=False):
        # A mark of the byte order at the beginning is no part of the first field.
        line = pl.col(_LINE).str.strip_prefix("\ufeff")
        fields = line.str.replace_all(_quoted_field(), "") if whole else line
        bad = fields.str.count_matches(separator, literal=True) != width - 1
        whole_field = escaped = pl.lit(False)
        if whole:
            escaped = line.str.contains(_escaped(separator))
            whole_field = line.str.contains(_whole_field(separator))
            bad |= line.str.contains('"', literal=True) & ~line.str.contains(
                _whole_line(separator)
            )
        # A line of nothing but separators says nothing, and looks like a blank one.
        bad |= line.str.strip_chars(separator) == ""
        blank = line == ""
        found = (
            pl.scan_lines(file, name=_LINE, glob=False)
            .select(
                lines=pl.len(),
                blanks=blank.sum(),
                quotes=line.str.contains('"', literal=True).any(),
                whole_fields=whole_field.any(),
                escaped=escaped.arg_max(),
                any_escaped=escaped.any(),
                bad=(bad & ~blank).arg_max(),
                any_bad=(bad & ~blank).any(),
            )
            .collect(engine="streaming")
            .row(0, named=True)
        )
        self.blanks, self.quotes = found["blanks"], found["quotes"]
        self.whole_fields = found["whole_fields"]
        self.escaped = found["escaped"] if found["any_escaped"] else None
        self.rows = found["lines"] - self.blanks
        self.bad = found["bad"] if found["any_bad"] else None


def _quoted_field(quote='"'):
    """A pattern of fields within quotes, in which a quote is doubled."""
    mark = re.escape(quote)
    return f"{mark}[^{mark}]*(?:{mark}{mark}[^{mark}]*)*{mark}"


def _field(separator, quote):
    plain = f"[^{re.escape(quote)}{re.escape(separator)}]*"
    return f"(?:{_quoted_field(quote)}|{plain})"


def _whole_line(separator, quote='"'):
    """A pattern of lines whose quoted fields begin and end in them."""
    one, field = re.escape(separator), _field(separator, quote)
    return f"^{field}(?:{one}{field})*$"


def _whole_field(separator):
    """A pattern of lines that have a field within quotes, from end to end."""
    one = re.escape(separator)
    return f'(?:^|{one})"[^"]+"(?:{one}|$)'


def _escaped(separator):
    """A pattern of lines that have one with a quote after a backslash within it."""
    one, inside = re.escape(separator), r'(?:[^"\\]|\\.)*'
    return rf'(?:^|{one})"{inside}\\"{inside}"(?:{one}|$)'


def _fields(line, separator, quote):
    if quote is None:
        return tuple(line.split(separator))
    one = re.escape(separator)
    fields = re.findall(f"(?:^|{one})({_field(separator, quote)})", line)
    return tuple(
        f[1:-1].replace(quote * 2, quote) if f.startswith(quote) else f for f in fields
    )


@functools.cache
def _patterns(separator, quote):
    return re.compile(_whole_line(separator, quote)), re.compile(_quoted_field(quote))


def _fault(record, separator, quote, width):
    """What is wrong with a line, or `None`."""
    if not record.strip(separator):
        return "it has nothing but separators"
    if quote in record:
        whole, inside = _patterns(separator, quote)
        if not whole.search(record):
            return "a quote in it is not the beginning and end of a field"
        record = inside.sub("", record)
    count = record.count(separator) + 1
    return None if count == width else f"it has {count} fields"


def _records(file, quote):
    """Lines with their numbers; those that a quoted field runs over are one."""
    record, begun, open_quote = [], 0, False
    # As in polars, only a line feed ends a line.
    with _opened(file, newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            begun = begun if open_quote else number
            record.append(line)
            open_quote ^= line.count(quote) % 2 == 1
            if not open_quote:
                yield begun, _without_end("".join(record))
                record = []
    if record:
        yield begun, _without_end("".join(record))


def _without_end(line):
    return line.removesuffix("\n").removesuffix("\r")


def _check_packed(file):
    """Reads it to its end, where the checksum is: polars may stop before."""
    if packing(file):
        with open_unpacked(file) as unpacked:
            while unpacked.read(1 << 20):
                pass


def _first_line(file):
    with _opened(file) as lines:
        stripped = (line.rstrip("\r\n") for line in lines)
        return next((line for line in stripped if line), "")


def _opened(file, newline=""):
    # A mark of the byte order at the beginning is no part of the first name.
    return io.TextIOWrapper(
        open_unpacked(file), encoding="utf-8-sig", errors="replace", newline=newline
    )
