"""Columns as tensorflow-metadata's proto-text, and back."""

from google.protobuf import json_format, struct_pb2, text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from keras_t4r.files.sentences import first_line
from keras_t4r.schema.column_schema import ColumnSchema
from keras_t4r.schema.domain import UNKNOWN_ID, Domain
from keras_t4r.schema.tags import Tags, plain_tag

_PROTO_TYPES = {
    "int64": schema_pb2.INT,
    "float32": schema_pb2.FLOAT,
    "string": schema_pb2.BYTES,
}
_DTYPES = {number: name for name, number in _PROTO_TYPES.items()}
# Where NVTabular keeps what it knows of a column beside: `extra_metadata`.
_ENCODING = "keras_t4r.encoding"


def columns_from_text(text, where):
    """The columns of proto-text, or of JSON where the text starts with a brace."""
    proto = schema_pb2.Schema()
    try:
        if text.lstrip().startswith("{"):
            json_format.Parse(text, proto)
        else:
            text_format.Parse(text, proto)
    except (text_format.ParseError, json_format.ParseError) as error:
        raise ValueError(
            f"{where} is not a tensorflow-metadata schema ({first_line(error)})."
        ) from error
    if not proto.feature:
        raise ValueError(
            f"{where} names no column, so it is no schema: write it again, or name "
            "another."
        )
    return tuple(_from_proto(feature, where) for feature in proto.feature)


def columns_to_text(columns):
    """The columns as proto-text."""
    proto = schema_pb2.Schema()
    for column in columns:
        _to_proto(column, proto.feature.add())
    return text_format.MessageToString(proto)


def _from_proto(feature, where):
    kind = feature.WhichOneof("domain_info")
    domain, categorical = None, False
    if kind in ("int_domain", "float_domain"):
        proto = getattr(feature, kind)
        categorical = kind == "int_domain" and proto.is_categorical
        lowest = proto.min
        if categorical:
            lowest = max(lowest, _first_id_of_categorify(feature))
        domain = Domain(lowest, proto.max, proto.name)
    if feature.type not in _DTYPES:
        raise ValueError(
            f"Column {feature.name!r} of the schema has no type; "
            "give it INT, FLOAT or BYTES."
        )
    tags = tuple(feature.annotation.tag)
    if categorical and Tags.CATEGORICAL not in map(plain_tag, tags):
        tags += (Tags.CATEGORICAL,)
    dtype = _DTYPES[feature.type]
    counts = _counts(feature, where)
    encoding = _property(feature, _ENCODING)
    return ColumnSchema(feature.name, dtype, tags, domain, *counts, encoding)


def _property(feature, key):
    for properties in _properties(feature):
        if key in properties:
            return properties[key]
    return None


def _properties(feature):
    for metadata in feature.annotation.extra_metadata:
        properties = struct_pb2.Struct()
        if metadata.Unpack(properties):
            yield properties


def _counts(feature, where):
    """`(value_count, event_count)`: the lists of a column, and the lists in these."""
    counts = []
    if feature.HasField("value_count"):
        counts = [feature.value_count]
    elif feature.HasField("value_counts"):
        counts = feature.value_counts.value_count
    if len(counts) > 2:
        raise ValueError(
            f"Column {feature.name!r} of {where} has lists in lists in lists; an event "
            "has one value, or one list of them."
        )
    pairs = [(count.min, count.max) for count in counts]
    return (*pairs, None, None)[:2]


def _first_id_of_categorify(feature):
    """The first id of a value where NVTabular's Categorify encoded the column, else 0.

    From version 23 on it gives 0 to padding, 1 to null, then as many ids as there are
    `num_buckets` (one, if it is not set) to values that it does not know; its domain
    begins at 0 all the same. Earlier versions, which have a `start_index`, gave 0 to
    all that is no value.
    """
    for properties in _properties(feature):
        if "cat_path" not in properties:
            continue
        if "start_index" in properties:
            return 0
        buckets = properties["num_buckets"] if "num_buckets" in properties else None
        return UNKNOWN_ID + 1 + max(int(buckets or 1), 1)
    return 0


def _to_proto(column, feature):
    feature.name = column.name
    feature.type = _PROTO_TYPES[column.dtype]
    if column.event_count is not None:
        for pair in (column.value_count, column.event_count):
            count = feature.value_counts.value_count.add()
            count.min, count.max = pair
    elif column.is_list:
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
    if column.encoding is not None:
        properties = struct_pb2.Struct()
        properties[_ENCODING] = column.encoding
        feature.annotation.extra_metadata.add().Pack(properties)
