"""The schema: what the columns of a session are, in one place.

The ETL writes it beside the sessions; inputs, embeddings, loader and export
read it. The file format is tensorflow-metadata's proto-text, the one that
NVTabular and Transformers4Rec use.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras

from keras_t4r.arguments import names as list_of_names
from keras_t4r.files import as_path, write_text
from keras_t4r.schema.column_schema import ColumnSchema, check_plain_names
from keras_t4r.schema.merlin_schema import columns_from_merlin, columns_to_merlin
from keras_t4r.schema.schema_text import columns_from_text, columns_to_text
from keras_t4r.schema.tags import Tags, plain_tag
from keras_t4r.schema.vocabulary import Vocabulary

VOCABULARY_FOLDER = "vocabularies"


@dataclass(frozen=True)
class Schema:
    """The columns of a session table.

    Args:
        columns: iterable of `ColumnSchema`.
        folder: path. Where the vocabularies of the columns' domains lie, in
            `vocabularies/<domain>.parquet`. Set by `load`.
        vocabularies: dict of column to `Vocabulary`, of those that are in memory, as a
            fitted ETL's are. What it lacks is looked for in the folder.

    Raises:
        TypeError: an argument is none of these.
        ValueError: a column stands twice.

    Example:

    ```python
    schema = Schema.load("sessions/schema.pbtxt")
    inputs = schema.inputs()            # {"item_id": <KerasTensor (None, None)>, …}
    schema.item_id                      # "item_id"
    schema.select_by_tag("continuous").names
    ```
    """

    columns: tuple = ()
    folder: Path | None = field(default=None, compare=False)
    vocabularies: dict | None = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "columns", _checked_columns(self.columns))
        if self.folder is not None:
            object.__setattr__(self, "folder", as_path(self.folder, "vocabularies"))
        _check_vocabularies(self.vocabularies)
        # Two schema files of the Transformers4Rec paper list a feature twice.
        columns = {}
        for column in self.columns:
            first = columns.setdefault(column.name, column)
            if first != column:
                raise ValueError(
                    f"Column {column.name!r} stands twice in the schema, once as "
                    f"{first} and once as {column}; leave one of them."
                )
        object.__setattr__(self, "columns", tuple(columns.values()))

    def __getitem__(self, name):
        if not isinstance(name, str):
            raise TypeError(f"A column is asked for by its name, not by {name!r}.")
        for column in self.columns:
            if column.name == name:
                return column
        raise ValueError(
            f"The schema has no column {name!r}; its columns are {self.names}."
        )

    def __contains__(self, name):
        return name in self.names

    def __iter__(self):
        return iter(self.columns)

    def __len__(self):
        return len(self.columns)

    @property
    def names(self):
        return [column.name for column in self.columns]

    def select(self, names):
        """The schema of the named columns, in the order given."""
        return replace(self, columns=tuple(self[name] for name in _several(names)))

    def without(self, names):
        """The schema without the named columns.

        Raises:
            ValueError: it has no such column.
        """
        left_out = {self[name].name for name in _several(names)}
        return self.select([name for name in self.names if name not in left_out])

    def select_by_tag(self, *tags):
        """The schema of the columns that carry any of the tags."""
        wanted = {plain_tag(tag) for tag in tags}
        chosen = tuple(c for c in self.columns if wanted.intersection(c.tags))
        return replace(self, columns=chosen)

    @property
    def item_id(self):
        """Name of the column of item ids.

        Raises:
            ValueError: no column, or more than one, is tagged `item_id`.
        """
        names = self.select_by_tag(Tags.ITEM_ID).names
        if len(names) != 1:
            raise ValueError(
                f"{len(names)} columns of the schema are tagged {Tags.ITEM_ID!r} "
                f"({names}); exactly one must be, so that the model knows its items."
            )
        return names[0]

    @property
    def session_id(self):
        """Name of the column that tells sessions apart, or `None`."""
        names = self.select_by_tag(Tags.SESSION_ID, Tags.GROUPBY).names
        return names[0] if names else None

    @property
    def features(self):
        """The columns a model reads: ids with a domain, what is tagged `continuous`,
        and times that are tagged `timestamp`; no targets."""
        key = self.session_id
        return replace(
            self,
            columns=tuple(
                c
                for c in self.columns
                if c.name != key
                and not c.is_target
                and (c.is_categorical or c.is_continuous or c.is_timestamp)
            ),
        )

    @property
    def max_length(self):
        """The most events that a session may have.

        Raises:
            ValueError: no column is a list, or no list says how long it may be.
        """
        lengths = [c.value_count[1] for c in self.columns if c.is_list]
        if not lengths:
            raise ValueError(
                "The schema has no list column: a session needs at least one, "
                "with a value_count."
            )
        # NVTabular writes 0 where it does not know.
        if max(lengths) < 1:
            names = [c.name for c in self.columns if c.is_list]
            raise ValueError(
                f"The schema does not say how long a session may be: the value_count "
                f"of {names} ends at 0. Write the longest length into the schema, or "
                "pass max_length to the layer and to the loader."
            )
        return max(lengths)

    def inputs(self):
        """Symbolic inputs for the functional API, one a feature column.

        Returns:
            A dict of `keras.Input`: `(batch, time)` for list columns, `(batch, time,
            most)` for those of vectors and bags, and `(batch,)` for the others; int32
            for ids, float32 for numbers. They are named after their columns, by
            `ColumnSchema.plain_name`.

        Raises:
            ValueError: two columns have one such name, capitals or not.
        """
        check_plain_names(self.features)
        return {
            c.name: keras.Input(
                shape=c.shape,
                dtype="int32" if c.is_categorical else "float32",
                name=c.plain_name,
            )
            for c in self.features
        }

    def vocabulary(self, name):
        """The `Vocabulary` of a column's ids, or `None`.

        There is none where no file lies beside the schema, as for the tutorial's data.

        Raises:
            FileNotFoundError: the column names its vocabulary, as that of an ETL does,
                and it does not lie beside the schema's file, or there is none.
            ValueError: what lies there is another, or no vocabulary.
        """
        if name in (self.vocabularies or {}):
            return self.vocabularies[name]
        if not self[name].is_categorical:
            return None
        # A domain may be named "item_id/list", as Transformers4Rec's are.
        named, table = self[name].encoding, self[name].table_name
        if self.folder is None:
            if named is None:
                return None
            raise FileNotFoundError(
                f"The schema names the vocabulary of column {name!r} ({named}), and "
                "has no folder of vocabularies: without it ids and raw values cannot "
                "be told apart. Read it with Schema.load, or give Schema folder= or "
                "vocabularies=, as they are of the schema that the column is of."
            )
        folder = self.folder / VOCABULARY_FOLDER
        path = folder / f"{table}.parquet"
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"The domain of column {name!r} is named {table!r}, which leads out of "
                f"the folder of vocabularies, {folder}: rename it in the schema."
            )
        if not path.exists():
            if named is None:
                return None
            raise FileNotFoundError(
                f"The schema names the vocabulary of column {name!r} ({named}), and "
                f"there is no {path}: without it ids and raw values cannot be told "
                f"apart. Copy the folder {VOCABULARY_FOLDER!r} beside the schema, too."
            )
        vocabulary = Vocabulary.load(path, self[name].first_id, name)
        expected = self[name].cardinality - self[name].first_id
        if len(vocabulary) != expected:
            raise ValueError(
                f"{path} holds {len(vocabulary)} values, but column {name!r} has "
                f"{expected} ids in the schema; write both with the same ETL."
            )
        # A vocabulary may have grown since.
        if named is not None and not vocabulary.covers(named):
            raise ValueError(
                f"{path} is another vocabulary ({vocabulary.fingerprint}) of column "
                f"{name!r} than the schema beside it names ({named}): copy both from "
                "one folder."
            )
        return vocabulary

    # Reading and writing

    @classmethod
    def load(cls, path):
        """Reads tensorflow-metadata proto-text (`.pbtxt`) or its JSON form.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError: it is no path.
            ValueError: the file is not a schema, or a folder.
        """
        path = as_path(path, "a schema")
        if path.is_dir():
            raise ValueError(
                f"{path} is a folder, and no schema: name the file in it, as "
                f"{path / 'schema.pbtxt'}."
            )
        if not path.is_file():
            raise FileNotFoundError(f"There is no schema file at {path}.")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is no schema: it is not UTF-8 text ({error})."
            ) from error
        return replace(cls.from_text(text, where=str(path)), folder=path.parent)

    @classmethod
    def from_text(cls, text, where="the text"):
        """Parses proto-text, or JSON where the text starts with a brace.

        Raises:
            TypeError: it is no text.
            ValueError: it is no schema, or names no column.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"{where} of a schema is {text!r}; it should be proto-text or JSON."
            )
        return cls(columns_from_text(text, where))

    def to_text(self):
        """The schema as tensorflow-metadata proto-text."""
        return columns_to_text(self.columns)

    def save(self, path):
        """Writes proto-text; the file appears whole or not at all."""
        write_text(path, self.to_text())

    @classmethod
    def from_merlin(cls, schema):
        """Converts a `merlin.schema.Schema` (extra `nvtabular`)."""
        if not hasattr(schema, "column_schemas"):
            raise TypeError(f"{schema!r} is no merlin.schema.Schema.")
        return cls(columns_from_merlin(schema))

    def to_merlin(self):
        """Converts to a `merlin.schema.Schema` (extra `nvtabular`)."""
        return columns_to_merlin(self.columns)


def _several(names):
    """Names in any iterable; one stands for a list of it."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        return list_of_names("names", names)
    return names


def _checked_columns(columns):
    several = isinstance(columns, Iterable) and not isinstance(columns, str | Mapping)
    columns = tuple(columns) if several else (columns,)
    for column in columns:
        if not several or not isinstance(column, ColumnSchema):
            raise TypeError(
                f"The columns of a schema are {column!r}; they should be a list of "
                "ColumnSchema, one a column."
            )
    return columns


def _check_vocabularies(vocabularies):
    if vocabularies is None:
        return
    held = vocabularies.values() if isinstance(vocabularies, Mapping) else [None]
    if not all(isinstance(vocabulary, Vocabulary) for vocabulary in held):
        raise TypeError(
            f"The vocabularies of a schema are {vocabularies!r}; they should be a dict "
            "of column to Vocabulary."
        )


def check_schema(schema, needed=False):
    """Raises where an argument is no `Schema`; `None` is one unless it is needed."""
    if isinstance(schema, Schema) or (schema is None and not needed):
        return
    raise TypeError(
        f"schema is {schema!r}; it should be a Schema, as Schema.load reads it."
    )
