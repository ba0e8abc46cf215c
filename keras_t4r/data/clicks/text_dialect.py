"""How a text file of clicks is to be read, and how many clicks stand in it."""

import csv
import gzip
import re
from dataclasses import dataclass

import polars as pl

_LINE = "__line"
_SEPARATORS = "\t,;|"
# What `ClickLog(quote=…)` says where the file is to decide.
AUTO = "auto"
_SETTLE = (
    "pass ClickLog(path, quote=None) where quotes are plain text, or quote='\"' where "
    "a quoted field may run over several lines"
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
            quote: `"auto"`, a string of one character, or `None`.

        Raises:
            ValueError: a line has more or fewer fields than the first; or it is not
                clear what the quotes mean.
        """
        if separator is not None and len(separator) != 1:
            raise ValueError(
                f"separator is {separator!r}; it should be one character: write "
                f"{file} with another."
            )
        _check_zip(file)
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
        """Reads it as RFC 4180 has it, where a field may hold line breaks."""
        rows = blanks = 0
        header = ()
        before = csv.field_size_limit(2**31 - 1)
        with _opened(file) as lines:
            reader = csv.reader(
                lines, delimiter=separator, quotechar=quote, strict=True
            )
            try:
                for fields in reader:
                    header = header or tuple(fields)
                    blanks += not fields
                    rows += bool(fields)
                    if fields and len(fields) != len(header):
                        raise csv.Error(f"it has {len(fields)} fields")
            except csv.Error as error:
                raise ValueError(
                    f"Line {reader.line_num} of {file} cannot be read ({error}); the "
                    f"first line has {len(header)} fields, quoted with {quote}: mend "
                    "it, or pass ClickLog(path, quote=None) where quotes are text."
                ) from error
            finally:
                csv.field_size_limit(before)
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
        fields = line.str.replace_all(r'"(?:[^"]|"")*"', "") if whole else line
        bad = fields.str.count_matches(separator, literal=True) != width - 1
        whole_field = pl.lit(False)
        if whole:
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
                bad=(bad & ~blank).arg_max(),
                any_bad=(bad & ~blank).any(),
            )
            .collect(engine="streaming")
            .row(0, named=True)
        )
        self.blanks, self.quotes = found["blanks"], found["quotes"]
        self.whole_fields = found["whole_fields"]
        self.rows = found["lines"] - self.blanks
        self.bad = found["bad"] if found["any_bad"] else None


def _whole_line(separator):
    """A pattern of lines whose quoted fields begin and end in them."""
    one = re.escape(separator)
    field = rf'(?:"(?:[^"]|"")*"|[^"{one}]*)'
    return f"^{field}(?:{one}{field})*$"


def _whole_field(separator):
    """A pattern of lines that have a field within quotes, from end to end."""
    one = re.escape(separator)
    return f'(?:^|{one})"[^"]+"(?:{one}|$)'


def _fields(line, separator, quote):
    if quote is None:
        return tuple(line.split(separator))
    (fields,) = csv.reader([line], delimiter=separator, quotechar=quote)
    return tuple(fields)


def _check_zip(file):
    """Reads a zip to its end, where its checksum is: polars may stop before."""
    if file.suffix == ".gz":
        with gzip.open(file, "rb") as zipped:
            while zipped.read(1 << 20):
                pass


def _first_line(file):
    with _opened(file) as lines:
        stripped = (line.rstrip("\r\n") for line in lines)
        return next((line for line in stripped if line), "")


def _opened(file):
    opener = gzip.open if file.suffix == ".gz" else open
    # A mark of the byte order at the beginning is no part of the first name.
    return opener(file, "rt", encoding="utf-8-sig", errors="replace", newline="")
