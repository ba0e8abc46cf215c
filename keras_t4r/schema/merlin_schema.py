"""Columns as a `merlin.schema.Schema`, and back."""

from dataclasses import replace

from keras_t4r.schema.schema_text import columns_from_text, columns_to_text
from keras_t4r.schema.tags import Tags

# Merlin splits compound tags: `item_id` becomes `item` and `id`.
_COMPOUND_TAGS = {
    "item": Tags.ITEM_ID,
    "user": Tags.USER_ID,
    "session": Tags.SESSION_ID,
}


def columns_from_merlin(schema):
    text = _merlin_format().from_merlin_schema(schema).to_proto_text()
    columns = []
    for column in columns_from_text(text, where="the Merlin schema"):
        tags = list(column.tags)
        for owner, compound in _COMPOUND_TAGS.items():
            if "id" in tags and owner in tags:
                tags[tags.index("id")] = compound
        columns.append(replace(column, tags=tuple(tags)))
    return tuple(columns)


def columns_to_merlin(columns):
    several = [column.name for column in columns if column.event_count is not None]
    if several:
        raise ValueError(
            f"Columns {several} have vectors or bags, and Merlin's schemas no lists in "
            "lists: leave the columns out (Schema.select)."
        )
    return _merlin_format().from_proto_text(columns_to_text(columns)).to_merlin_schema()


def _merlin_format():
    try:
        from merlin.schema.io.tensorflow_metadata import TensorflowMetadata
    except ImportError as error:
        raise ImportError(
            "Merlin schemas need the package merlin-core: install "
            "keras_t4r[nvtabular] on Python 3.10 or 3.11."
        ) from error
    return TensorflowMetadata
