"""The schema: what the columns of a session are, in one place.

The ETL writes it beside the sessions; inputs, embeddings, loader and export
read it. The file format is tensorflow-metadata's proto-text, the one that
NVTabular and Transformers4Rec use.
"""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import pyarrow.parquet as pq
from google.protobuf import json_format, struct_pb2, text_format
from tensorflow_metadata.proto.v0 import schema_pb2

# Merlin's files carry Structs in their annotations: naming the type here lets
# the parser read them.
_ANNOTATION_TYPE = struct_pb2.Struct

PADDING_ID = 0
UNKNOWN_ID = 1
VOCABULARY_FOLDER = "vocabularies"


class Tags:
    """The tags that the package gives a meaning to. Others are kept as they are."""

    ITEM_ID = "item_id"
    SESSION_ID = "session_id"
    USER_ID = "user_id"
    ITEM = "item"
    USER = "user"
    CONTEXT = "context"
    CATEGORICAL = "categorical"
    CONTINUOUS = "continuous"
    LIST = "list"
    SEQUENCE = "sequence"
    TIME = "time"
    TIMESTAMP = "timestamp"
    GROUPBY = "groupby_col"


@dataclass(frozen=True)
class Domain:
    """The values a column may take, ends included; ids of one domain share a table."""

    min: float
    max: float
    name: str = ""


@dataclass(frozen=True)
class ColumnSchema:
    """One column of a session table.

    A column with a `value_count` is a list: it has one value an event. A
    column without one holds a single value for the whole session.

    Args:
        name: string. The column's name in the parquet files.
        dtype: string. `"int64"`, `"float32"` or `"string"`.
        tags: iterable of strings. See `Tags`; kept in lower case.
        domain: `Domain`. Ids (for categorical columns) or the range of a
            number. For ids, those below `domain.min` are special: 0 is
            padding, 1 (where `min` is 2) stands for unknown values.
        value_count: pair of ints. Least and most values of a list column.

    Example:

    >>> ColumnSchema("item_id", tags=("item_id", "categorical"),
    ...              domain=Domain(2, 501, "item_id"), value_count=(1, 20))
    """

    name: str
    dtype: str = "int64"
    tags: tuple = ()
    domain: Domain | None = None
    value_count: tuple | None = None

    def __post_init__(self):
        if self.dtype not in _PROTO_TYPES:
            raise ValueError(
                f"Column {self.name!r} has dtype {self.dtype!r}; "
                f"use one of {sorted(_PROTO_TYPES)}."
            )
        tags = (self.tags,) if isinstance(self.tags, str) else self.tags
        object.__setattr__(self, "tags", tuple(_plain_tag(t) for t in tags))
        if self.domain is not None and self.domain.min > self.domain.max:
            raise ValueError(
                f"Column {self.name!r} has an empty domain: min {self.domain.min} "
                f"is above max {self.domain.max}."
            )

    @property
    def is_list(self):
        return self.value_count is not None

    @property
    def is_categorical(self):
        """Whether the column's values are ids, to be looked up in a table."""
        return (
            Tags.CATEGORICAL in self.tags
            and self.dtype == "int64"
            and self.domain is not None
        )

    @property
    def is_continuous(self):
        return self.dtype == "float32"

    @property
    def is_timestamp(self):
        """Whether the column says when events happened: for bodies that read times."""
        return self.is_continuous and Tags.TIMESTAMP in self.tags

    @property
    def cardinality(self):
        """Rows of the column's embedding table: its highest id plus one."""
        if self.domain is None:
            raise ValueError(
                f"Column {self.name!r} has no domain, so its number of ids is not "
                "known; give it one in the schema."
            )
        return int(self.domain.max) + 1

    @property
    def first_id(self):
        """The lowest id that stands for a real value."""
        return max(int(self.domain.min), PADDING_ID + 1)

    @property
    def table_name(self):
        """Columns with the same table name share one embedding table."""
        return (self.domain and self.domain.name) or self.name


@dataclass(frozen=True)
class Schema:
    """The columns of a session table.

    Args:
        columns: iterable of `ColumnSchema`.
        folder: path. Where the vocabularies of the columns' domains lie, in
            `vocabularies/<domain>.parquet`. Set by `load`.

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

    def __post_init__(self):
        object.__setattr__(self, "columns", tuple(self.columns))
        seen = set()
        for column in self.columns:
            if column.name in seen:
                raise ValueError(f"Column {column.name!r} stands twice in the schema.")
            seen.add(column.name)

    def __getitem__(self, name):
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
        return replace(self, columns=tuple(self[name] for name in names))

    def select_by_tag(self, *tags):
        """The schema of the columns that carry any of the tags."""
        wanted = {_plain_tag(tag) for tag in tags}
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
        """The columns a model reads: ids with a domain, and numbers."""
        key = self.session_id
        return replace(
            self,
            columns=tuple(
                c
                for c in self.columns
                if c.name != key and (c.is_categorical or c.is_continuous)
            ),
        )

    @property
    def max_length(self):
        """The most events that a session may have."""
        lengths = [c.value_count[1] for c in self.columns if c.is_list]
        if not lengths:
            raise ValueError(
                "The schema has no list column: a session needs at least one, "
                "with a value_count."
            )
        return max(lengths)

    def inputs(self):
        """Symbolic inputs for the functional API, one a feature column.

        Returns:
            A dict of `keras.Input`: `(batch, time)` for list columns and
            `(batch,)` for the others; int32 for ids, float32 for numbers.
        """
        return {
            c.name: keras.Input(
                shape=(None,) if c.is_list else (),
                dtype="int32" if c.is_categorical else "float32",
                name=c.name,
            )
            for c in self.features
        }

    def vocabulary(self, name):
        """Raw values of a column's ids, from `first_id` on, or `None`.

        Returns:
            A `pyarrow.Array`: its row r is the raw value of id
            `schema[name].first_id + r`. `None` where no file lies beside the
            schema, as for the tutorial's data.
        """
        if self.folder is None or not self[name].is_categorical:
            return None
        path = self.folder / VOCABULARY_FOLDER / f"{self[name].table_name}.parquet"
        if not path.exists():
            return None
        values = pq.read_table(path, columns=["value"])["value"].combine_chunks()
        expected = self[name].cardinality - self[name].first_id
        if len(values) != expected:
            raise ValueError(
                f"{path} holds {len(values)} values, but column {name!r} has "
                f"{expected} ids in the schema; write both with the same ETL."
            )
        return values

    # Reading and writing

    @classmethod
    def load(cls, path):
        """Reads tensorflow-metadata proto-text (`.pbtxt`) or its JSON form.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a schema.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no schema file at {path}.")
        text = path.read_text(encoding="utf-8")
        return replace(cls.from_text(text, where=str(path)), folder=path.parent)

    @classmethod
    def from_text(cls, text, where="the text"):
        """Parses proto-text, or JSON where the text starts with a brace."""
        proto = schema_pb2.Schema()
        try:
            if text.lstrip().startswith("{"):
                json_format.Parse(text, proto)
            else:
                text_format.Parse(text, proto)
        except (text_format.ParseError, json_format.ParseError) as error:
            raise ValueError(
                f"{where} is not a tensorflow-metadata schema: {error}"
            ) from error
        return cls(tuple(_from_proto(feature) for feature in proto.feature))

    def to_text(self):
        """The schema as tensorflow-metadata proto-text."""
        proto = schema_pb2.Schema()
        for column in self.columns:
            _to_proto(column, proto.feature.add())
        return text_format.MessageToString(proto)

    def save(self, path):
        """Writes proto-text; the file appears whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(self.to_text(), encoding="utf-8")
        os.replace(temporary, path)

    @classmethod
    def from_merlin(cls, schema):
        """Converts a `merlin.schema.Schema`.

        Merlin splits compound tags (`item_id` becomes `item` and `id`); they
        are joined again here.
        """
        proto = _merlin_format().from_merlin_schema(schema).to_proto_text()
        columns = []
        for column in cls.from_text(proto, where="the Merlin schema"):
            tags = list(column.tags)
            for owner, compound in _COMPOUND_TAGS.items():
                if "id" in tags and owner in tags:
                    tags[tags.index("id")] = compound
            columns.append(replace(column, tags=tuple(tags)))
        return cls(tuple(columns))

    def to_merlin(self):
        """Converts to a `merlin.schema.Schema` (extra `nvtabular`)."""
        return _merlin_format().from_proto_text(self.to_text()).to_merlin_schema()


_COMPOUND_TAGS = {
    "item": Tags.ITEM_ID,
    "user": Tags.USER_ID,
    "session": Tags.SESSION_ID,
}
_PROTO_TYPES = {
    "int64": schema_pb2.INT,
    "float32": schema_pb2.FLOAT,
    "string": schema_pb2.BYTES,
}
_DTYPES = {number: name for name, number in _PROTO_TYPES.items()}


def _merlin_format():
    try:
        from merlin.schema.io.tensorflow_metadata import TensorflowMetadata
    except ImportError as error:
        raise ImportError(
            "Merlin schemas need the package merlin-core: install "
            "keras_t4r[nvtabular] on Python 3.10 or 3.11."
        ) from error
    return TensorflowMetadata


def _plain_tag(tag):
    """Merlin writes `Tags.ITEM_ID`, older schemas `item_id` or `ITEM_ID`."""
    tag = str(getattr(tag, "value", tag)).lower()
    return re.sub(r"^tags\.", "", tag)


def _from_proto(feature):
    kind = feature.WhichOneof("domain_info")
    domain, categorical = None, False
    if kind in ("int_domain", "float_domain"):
        proto = getattr(feature, kind)
        domain = Domain(proto.min, proto.max, proto.name)
        categorical = kind == "int_domain" and proto.is_categorical
    if feature.type not in _DTYPES:
        raise ValueError(
            f"Column {feature.name!r} of the schema has no type; "
            "give it INT, FLOAT or BYTES."
        )
    tags = tuple(feature.annotation.tag)
    if categorical and Tags.CATEGORICAL not in map(_plain_tag, tags):
        tags += (Tags.CATEGORICAL,)
    count = None
    if feature.HasField("value_count"):
        count = (feature.value_count.min, feature.value_count.max)
    return ColumnSchema(feature.name, _DTYPES[feature.type], tags, domain, count)


def _to_proto(column, feature):
    feature.name = column.name
    feature.type = _PROTO_TYPES[column.dtype]
    if column.is_list:
        feature.value_count.min, feature.value_count.max = column.value_count
    if column.domain is not None:
        floating = column.dtype == "float32"
        proto = feature.float_domain if floating else feature.int_domain
        number = float if floating else int
        proto.min, proto.max = number(column.domain.min), number(column.domain.max)
        if column.domain.name:
            proto.name = column.domain.name
        if column.is_categorical:
            proto.is_categorical = True
    feature.annotation.tag.extend(column.tags)
