"""The tables of a schema's ids: their names, rows and widths."""

import math
from dataclasses import dataclass

from keras_t4r.arguments import number, whole_number

# Width of a table that is inferred: ceil(_MULTIPLIER * rows ** 0.25).
INFER = "infer"
_MULTIPLIER = 2.0


@dataclass(frozen=True)
class PlannedTable:
    """A table to be made; columns of one domain share it."""

    name: str
    columns: tuple
    rows: int
    dim: int


def inferred_dims(schema, multiplier=_MULTIPLIER):
    """Widths of embedding tables that grow slowly with what they hold.

    `dim = ceil(multiplier · rows ** 0.25)`, with `rows` the highest id plus one, for
    columns of one domain the highest of theirs. Transformers4Rec's rule.

    Args:
        schema: `Schema`.
        multiplier: float above 0.

    Returns:
        A dict of column to int, as `SequenceEmbeddingFeatures(embedding_dim=…)` takes.

    Example:

    >>> inferred_dims(schema)
    {'item_id': 31, 'category': 9}
    """
    multiplier = number("multiplier", multiplier, above=0)
    rows = _rows(schema)
    return {
        column.name: math.ceil(multiplier * rows[column.table_name] ** 0.25)
        for column in schema.features
        if column.is_categorical
    }


def plan_tables(schema, columns, embedding_dim):
    """The tables of some columns, in the order of the columns.

    Args:
        schema: `Schema`.
        columns: list of strings. Columns of ids.
        embedding_dim: int, `"infer"`, or dict of column name to either.

    Returns:
        A dict of table name to `PlannedTable`.

    Raises:
        TypeError, ValueError: a width is none, or is missing, or columns that share a
            table have several.
    """
    dims, named, rows = {}, {}, _rows(schema.select(columns))
    inferred = inferred_dims(schema.select(columns))
    for name in columns:
        table, dim = schema[name].table_name, embedding_dim
        if isinstance(dim, dict):
            if name not in dim:
                raise ValueError(
                    f"embedding_dim has no entry for column {name!r}; "
                    f"it has {sorted(dim)}."
                )
            dim = dim[name]
        if isinstance(dim, str) and dim == INFER:
            dim = inferred[name]
        dim = whole_number(f"embedding_dim of column {name!r}", dim)
        if dims.setdefault(table, dim) != dim:
            raise ValueError(
                f"Column {name!r} shares the table {table!r} with a column of "
                f"another width ({dims[table]} and {dim}); give both the same."
            )
        named.setdefault(table, []).append(name)
    return {
        table: PlannedTable(table, tuple(named[table]), rows[table], dim)
        for table, dim in dims.items()
    }


def _rows(schema):
    rows = {}
    for column in schema:
        if column.is_categorical:
            known = rows.get(column.table_name, 0)
            rows[column.table_name] = max(known, column.cardinality)
    return rows


class ByColumn:
    """An argument that is one for all columns, or a dict by column.

    Args:
        argument: string. Its name.
        value: what was passed: one, or a dict of column name to one.
        columns: list of strings. The columns that there are.
        get: function from what a caller may pass to the object it means.
        default: for columns that a dict leaves out.
    """

    def __init__(self, argument, value, columns, get, default=None):
        self._argument, self._default = argument, get(default)
        self._of_one = isinstance(value, dict) and not {"class_name", "config"} <= set(
            value
        )
        if not self._of_one:
            self._default = get(default if value is None else value)
            self._named = {}
            return
        unknown = sorted(set(value) - set(columns))
        if unknown:
            raise ValueError(
                f"{argument} names {unknown}, which are none of the columns that it is "
                f"for: {columns}."
            )
        self._named = {name: get(one) for name, one in value.items()}

    def of(self, columns):
        """What some columns have that share a table: one of them may be named."""
        named = [name for name in columns if name in self._named]
        if len(named) > 1:
            raise ValueError(
                f"Columns {named} share a table: name one of them in {self._argument}."
            )
        return self._named[named[0]] if named else self._default

    def config(self, serialize):
        if not self._of_one:
            return serialize(self._default)
        return {name: serialize(one) for name, one in self._named.items()}
