"""A click log on disk: which files, which format, which columns."""

from collections.abc import Iterable
from contextlib import contextmanager

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from keras_t4r.arguments import names as as_names
from keras_t4r.data.clicks.columns import ROW, check_arrow, check_int64
from keras_t4r.data.clicks.no_values import NO_TEXTS, as_null
from keras_t4r.data.clicks.text_dialect import AUTO, TextDialect, check_marks
from keras_t4r.data.clicks.text_encoding import not_utf8
from keras_t4r.data.clicks.text_values import NUMBERS, hint, is_wrong, text_of
from keras_t4r.data.clicks.times import alike, check_fine, column_kind
from keras_t4r.data.column_names import check_once
from keras_t4r.files.find import PARQUET_SUFFIXES, find_files, is_parquet
from keras_t4r.files.packed import READ_PACKED, UNPACKING_ERRORS, packing
from keras_t4r.files.parquet import check_whole
from keras_t4r.files.sentences import first_line

_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
# What reading a damaged file ends in. A panic is no `Exception` for Python.
_DAMAGED = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    pa.ArrowException,
    UnicodeError,
    *UNPACKING_ERRORS,
)


class ClickLog:
    """Files of clicks: CSV, TSV or parquet, one row a click.

    Text files may be packed by gzip (`.gz`) or zstd (`.zst`). They are scanned, never
    read whole, and each of their lines is a click, has as many fields as the first, or
    is blank and passed over: what is none of these is an error that names the line.
    They are UTF-8. When an ETL is fitted, it looks at every id once: they are integers
    where each is one as it is written (`7`, not `007`), else text. Numbers and times
    may have spaces around them; ids are as they are written.

    An empty field says "no value", and so do `null_values`. No other text does, for a
    `NA` may be Namibia: among ids, `NULL`, `NA` and `nan` are ids like others, in a log
    as in a request; among numbers, `nan` is no value, and `NULL` and `NA` are errors.

    Args:
        paths: path or list of paths. Files, folders or globs. The files of a
            folder or a glob are taken in the order of their names, and each once.
            Hidden ones and empty ones are left out; those that are packed in another
            way, as `.csv.bz2`, are refused. The other arguments are those of text
            files, and refused where there is none.
        columns: list of strings. The column names of text files without a
            header line. Default: the first line is the header.
        separator: string. What separates the columns of text files. Default:
            the most frequent of tab, comma, semicolon and bar in the first
            line.
        quote: string or `None`. What encloses fields of text files that hold
            separators or line breaks; `None` where quotes are plain text. Default:
            `"` where all lines that have one are then whole, and none otherwise.
        null_values: list of strings. What says "no value" in text files, beside
            nothing at all: `["NULL", "NA"]`. Default: `\\N`, as MySQL and Hive write.

    Raises:
        FileNotFoundError: there is no such file, or none in the folder.
        TypeError: `columns` or `null_values` is no list of texts, or a mark no text.
        ValueError: a file is empty, damaged, or of an unknown kind or packing; its
            lines differ in their number of fields, or have a quote within a field; or a
            mark is not one character of ASCII; or all files are parquet, but it was
            said how text files are read.

    Example:

    ```python
    clicks = ClickLog("yoochoose-clicks.dat",
                      columns=["session_id", "timestamp", "item_id", "category"])
    etl.fit(clicks)
    ```
    """

    def __init__(
        self,
        paths,
        columns=None,
        separator=None,
        quote=AUTO,
        null_values=NO_TEXTS,
    ):
        self.columns = _names(columns)
        self.null_values = as_names("null_values", null_values)
        check_marks(separator, quote)
        self.files = _find(paths)
        if all(map(is_parquet, self.files)):
            _refuse_marks_of_text(
                self.files[0],
                columns=(self.columns, None),
                separator=(separator, None),
                quote=(quote, AUTO),
                null_values=(self.null_values, NO_TEXTS),
            )
        self._dialects, self._whole = {}, set()
        for file in self.files:
            if file.stat().st_size == 0:
                raise ValueError(f"{file} is empty; it should hold clicks.")
            if not is_parquet(file):
                with _told(file):
                    self._dialects[file] = TextDialect.of(file, separator, quote)
        self._names = {file: self._read_names(file) for file in self.files}

    def names(self, file=None):
        """The names of the columns, in the order of the (first) file."""
        return self._names[file or self.files[0]]

    def rows(self):
        """How many clicks there are."""
        rows = 0
        for file in self.files:
            if is_parquet(file):
                rows += pq.read_metadata(file).num_rows
            else:
                rows += self._dialects[file].rows - (self.columns is None)
        return rows

    def scan(self, columns, kinds, time=None):
        """The columns of all files as one lazy frame, with a row number.

        Args:
            columns: list of strings. The columns to read.
            kinds: dict. The kind of each column of text files: `"int64"`,
                `"float64"` or `"string"`. Parquet files have their own types.
            time: string. Which of the columns holds times, if it is known.
        """
        self._check(columns)
        for file in self.files:
            if is_parquet(file) and (file, *columns) not in self._whole:
                with _told(file):
                    kinds_held = pq.read_schema(file)
                    check_whole(file, columns)
                for column in columns:
                    check_arrow(column, kinds_held.field(column).type, file)
                self._whole.add((file, *columns))
        frames = [self._scan_file(file, columns, kinds, time) for file in self.files]
        if len(frames) == 1:
            return frames[0].with_row_index(ROW)
        with self.reading():
            schemas = [frame.collect_schema() for frame in frames]
        self._check_types(schemas, columns)
        for file, schema in zip(self.files, schemas, strict=True):
            # Beside wider numbers it would look like one of them.
            check_fine(time, schema.get(time), file)
        frames = [
            frame.with_columns(alike(schema))
            for frame, schema in zip(frames, schemas, strict=True)
        ]
        return pl.concat(frames, how="vertical_relaxed").with_row_index(ROW)

    def text_kinds(self, columns, time):
        """Finds the kinds of columns of text files, by reading all values once.

        Args:
            columns: list of strings. Ids: integers, where each value is one
                as it is written (`7`, not `07`), else text.
            time: string. The column of times: integers, floats or text.

        Returns:
            dict, empty where no file is a text file.
        """
        texts = [file for file in self.files if not is_parquet(file)]
        if not texts:
            return {}
        self._check([*columns, time])
        number = text_of(time, "float64").cast(pl.Float64, strict=False)
        numeric = number.is_null().eq(pl.col(time).is_null()).all()
        questions = [numeric.alias(ROW)]
        for column in (*columns, time):
            text = text_of(column, "float64" if column == time else "int64")
            integer = text.cast(pl.Int64, strict=False).cast(pl.String)
            questions.append(integer.eq_missing(text).all().alias(column))
        with self.reading():
            frames = [self._scan_raw(file).select([*columns, time]) for file in texts]
            answers = pl.concat(frames).select(questions).collect(engine="streaming")
        answers = answers.row(0, named=True)
        kinds = {c: "int64" if answers[c] else "string" for c in (*columns, time)}
        if kinds[time] == "string" and answers[ROW]:
            kinds[time] = "float64"
        return kinds

    def _check(self, columns):
        for file in self.files:
            check_columns(columns, self.names(file), file, text=not is_parquet(file))

    @contextmanager
    def reading(self, kinds=None, time=None):
        """Turns what a damaged file makes the engine say into one sentence.

        Args:
            kinds: dict. The kind of each column that is read.
            time: string. Which of them holds times.
        """
        try:
            yield
        except _DAMAGED as error:
            if isinstance(error, FileNotFoundError):
                raise
            self._explain_bad_value(kinds or {}, time)
            for file in self.files:
                _explain_bytes(file, error)
            raise _damaged(self, error) from error

    def place(self, row):
        """`row 17 of clicks.csv`: rows count from 1, headers do not count."""
        for file in self.files:
            height = self._scan_raw(file).select(pl.len()).collect().item()
            if row < height:
                return f"row {row + 1} of {file}"
            row -= height
        raise IndexError(row)

    def __str__(self):
        more = len(self.files) - 1
        return str(self.files[0]) + (f" (and {more} more files)" if more else "")

    def _check_types(self, schemas, columns):
        """The files may differ in the width of numbers, no further."""
        for column in columns:
            kinds = [column_kind(schema[column]) for schema in schemas]
            known = [kind for kind in kinds if kind != "null"]
            for file, kind in zip(self.files, kinds, strict=True):
                if kind == "null" or kind == known[0]:
                    continue
                if not {kind, known[0]} <= {"int64", "float64"}:
                    first = self.files[kinds.index(known[0])]
                    raise TypeError(
                        f"Column {column!r} holds {kind} values in {file}, but "
                        f"{known[0]} values in {first}; cast one of them."
                    )

    def _read_names(self, file):
        if is_parquet(file):
            with _told(file):
                names = pq.read_schema(file).names
            # polars scans no such file, even where they are not read.
            check_once(names, file)
        else:
            names = list(self._dialects[file].header)
            if self.columns is not None:
                if len(names) != len(self.columns):
                    raise ValueError(
                        f"{file} has {len(names)} columns, but {len(self.columns)} "
                        f"names were given: {list(self.columns)}."
                    )
                names = list(self.columns)
        return names

    def _scan_raw(self, file):
        if is_parquet(file):
            return pl.scan_parquet(file, glob=False)
        dialect = self._dialects[file]
        frame = pl.scan_csv(
            file,
            separator=dialect.separator,
            quote_char=dialect.quote,
            has_header=self.columns is None,
            new_columns=_told_apart(self._names[file]),
            infer_schema=False,
            glob=False,
        )
        if dialect.blanks:
            # Of a blank line polars makes a row of nulls.
            frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
        # A field of nothing between quotes is no null for polars.
        return frame.with_columns(as_null(pl.all(), "string", self.null_values))

    def _scan_file(self, file, columns, kinds, time):
        frame = self._scan_raw(file).select(columns)
        if is_parquet(file):
            return frame
        casts = []
        for column in columns:
            if kinds[column] in NUMBERS:
                text = text_of(column, "float64" if column == time else kinds[column])
                wrong = is_wrong(text, kinds[column])
                # The cast fails where the text is a number, but not as it is written.
                marked = pl.when(wrong).then(pl.lit("?")).otherwise(text)
                casts.append(marked.cast(NUMBERS[kinds[column]]).alias(column))
        return frame.with_columns(casts)

    def _explain_bad_value(self, kinds, time):
        """Looks for the value that is not of its column's kind."""
        try:
            check_int64(self.scan(list(kinds), kinds, time), kinds, self)
        except _DAMAGED:
            return
        for file in self.files:
            if is_parquet(file):
                continue
            raw = self._scan_raw(file).with_row_index(ROW)
            for column, kind in kinds.items():
                if kind not in NUMBERS:
                    continue
                text = text_of(column, "float64" if column == time else kind)
                try:
                    found = (
                        raw.filter(is_wrong(text, kind))
                        .select(ROW, column)
                        .head(1)
                        .collect()
                    )
                except _DAMAGED:
                    return
                for row, text in found.rows():
                    raise TypeError(
                        f"Column {column!r} should hold {kind} values, but "
                        f"row {row + 1} of {file} has {text!r}.{hint(text)}"
                    )


def _told_apart(names):
    """The names, of which later ones of those that stand twice are others."""
    return [
        name if name not in names[:place] else f"{name}__{place}"
        for place, name in enumerate(names)
    ]


def check_columns(wanted, present, where, text=False):
    """Raises a sentence when a column is not there, or is there twice."""
    check_once(present, where, wanted)
    missing = [c for c in wanted if c not in present]
    if missing:
        hint = (
            " If its first line is no header, pass ClickLog(path, columns=[…])."
            if text
            else ""
        )
        raise ValueError(
            f"Column {missing[0]!r} is missing in {where}; "
            f"its columns are {list(present)}.{hint}"
        )


def _names(columns):
    if columns is None:
        return None
    if not isinstance(columns, str) and isinstance(columns, Iterable):
        columns = tuple(columns)
        if all(isinstance(name, str) for name in columns):
            return columns
    raise TypeError(f"columns is {columns!r}; it should be a list of names, as text.")


def _refuse_marks_of_text(file, **given):
    """Parquet has names, nulls and fields of its own.

    Args:
        file: path.
        **given: pair of an argument's value and its default.
    """
    for name, (value, default) in given.items():
        if value != default:
            raise ValueError(
                f"{name} is {value!r}, which says how text files are read, but {file} "
                f"is parquet: leave {name} out, or change the file."
            )


def _find(paths):
    files = find_files(paths, _known, "clicks")
    for file in files:
        if not _known(file):
            raise ValueError(
                f"{file} is of an unknown kind; click logs end in "
                f"{', '.join(_TEXT_SUFFIXES + PARQUET_SUFFIXES)}, text also with "
                f"{', '.join(READ_PACKED)}."
            )
    return files


def _known(file):
    text = file.with_suffix("") if packing(file) in READ_PACKED else file
    return text.suffix.lower() in _TEXT_SUFFIXES or is_parquet(file)


@contextmanager
def _told(file):
    try:
        yield
    except _DAMAGED as error:
        _explain_bytes(file, error)
        raise _damaged(file, error) from error


def _explain_bytes(file, error):
    """Raises a sentence where a text file is not UTF-8."""
    fault = None if is_parquet(file) else not_utf8(file)
    if fault:
        raise ValueError(fault) from error


def _damaged(where, error):
    return ValueError(
        f"{where} cannot be read ({first_line(error)}); is a file damaged or cut short?"
    )
