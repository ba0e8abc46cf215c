"""The encoder of each column: what is made without more, and what is built."""

from keras_t4r.layers.features.columns.column_table import ColumnTable
from keras_t4r.layers.features.columns.given_vectors import GivenVectors
from keras_t4r.layers.features.columns.id_embedding import IdEmbedding
from keras_t4r.layers.features.columns.numbers import Numbers


def check_item(item, columns, tables):
    """Raises where no table of the items could be scored with.

    Args:
        item: `ColumnSchema`.
        columns: dict of column to the encoder that a caller gave it.
        tables: dict of table name to `PlannedTable`, of the other columns of ids.

    Raises:
        TypeError: the encoder of the items has no table.
        ValueError: the table of their domain has rows that are no items.
    """
    encoder = columns.get(item.name)
    if encoder is None:
        rows = tables[item.table_name].rows
        if rows > item.cardinality:
            raise ValueError(
                f"The item column {item.name!r} has {item.cardinality} ids, but "
                f"another column of its domain {item.table_name!r} has {rows}: give "
                "both the same domain."
            )
    elif not isinstance(encoder, ColumnTable):
        raise TypeError(
            f"The encoder of the item column {item.name!r} is a "
            f"{type(encoder).__name__}, which has no table for heads to score with: "
            "give it a ColumnTable, as IdEmbedding or PretrainedEmbedding."
        )


def id_encoders(schema, tables, initializers, regularizers, dtype):
    """A dict of column to `IdEmbedding`; columns that share a table share it.

    Args:
        schema: `Schema`.
        tables: dict of table name to `PlannedTable`.
        initializers, regularizers: `ByColumn`.
        dtype: a Keras dtype policy.
    """
    found = {}
    for table in tables.values():
        encoder = IdEmbedding(
            table.rows,
            table.dim,
            initializers.of(table.columns),
            regularizers.of(table.columns),
            name=f"{schema[table.columns[0]].plain_name}_embedding",
            dtype=dtype,
        )
        found.update(dict.fromkeys(table.columns, encoder))
    return found


def plain_encoders(schema, names, dtype):
    """A dict of column to what takes its numbers or vectors as they are."""
    found = {}
    for name in names:
        cls, what = (Numbers, "number")
        if schema[name].is_vector:
            cls, what = (GivenVectors, "vector")
        found[name] = cls(name=f"{schema[name].plain_name}_{what}", dtype=dtype)
    return found


def build_encoder(encoder, schema, name):
    """Builds the encoder of a column.

    Returns:
        The width of what it gives.

    Raises:
        ValueError: it gives no vector for each value, or has other rows than the column
            has ids.
    """
    column, given = schema[name], schema.inputs()[name]
    if not encoder.built:
        encoder.build(given.shape)
    shape = tuple(encoder.compute_output_spec(given).shape)
    if isinstance(encoder, ColumnTable):
        _check_rows(encoder.rows, column, name == schema.item_id)
        if column.is_bag:
            # The rows of its ids are combined.
            shape = (*shape[:-2], shape[-1])
    if len(shape) != 2 + column.is_list or shape[-1] is None:
        each = "an event" if column.is_list else "a session"
        raise ValueError(
            f"The encoder of column {name!r} gives {shape} for {tuple(given.shape)}; "
            f"it should give one vector {each}."
        )
    return shape[-1]


def _check_rows(rows, column, is_item):
    ids = f"{column.cardinality} ids, padding included"
    if rows < column.cardinality:
        raise ValueError(
            f"The encoder of column {column.name!r} has {rows} rows, but the column "
            f"has {ids}: give a row for each."
        )
    if is_item and rows > column.cardinality:
        raise ValueError(
            f"The encoder of the item column {column.name!r} has {rows} rows, but "
            f"there are {ids}: no more could be answered."
        )
