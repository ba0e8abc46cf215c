"""Columns as tensorflow-metadata's proto-text, and back."""

from google.protobuf import json_format, struct_pb2, text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from keras_t4r.schema.column_schema import ColumnSchema
from keras_t4r.schema.domain import Domain
from keras_t4r.schema.tags import Tags, plain_tag

# Merlin's files carry Structs in their annotations: naming the type here lets
# the parser read them.
_ANNOTATION_TYPE = struct_pb2.Struct

_PROTO_TYPES = {
    "int64": schema_pb2.INT,
    "float32": schema_pb2.FLOAT,
    "string": schema_pb2.BYTES,
}
_DTYPES = {number: name for name, number in _PROTO_TYPES.items()}


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
            f"{where} is not a tensorflow-metadata schema: {error}"
        ) from error
    return tuple(_from_proto(feature) for feature in proto.feature)


def columns_to_text(columns):
    """The columns as proto-text."""
    proto = schema_pb2.Schema()
    for column in columns:
        _to_proto(column, proto.feature.add())
    return text_format.MessageToString(proto)


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
    if categorical and Tags.CATEGORICAL not in map(plain_tag, tags):
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
