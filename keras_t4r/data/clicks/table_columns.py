"""Tables of any maker as columns by their names."""

import dataclasses
from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from keras_t4r.data.column_names import check_once


def table_columns(table, what):
    """The columns of a table by their names, as they are held there.

    Args:
        table: polars, pyarrow or pandas table, dict of columns, or list of rows, each a
            dict, a named tuple or a dataclass.
        what: string. What the rows are, for the sentences.

    Returns:
        A dict, or `None` where it is no table.

    Raises:
        ValueError: two columns have one name, or rows differ in their columns.
    """
    if isinstance(table, Mapping):
        return dict(table)
    if isinstance(table, pl.LazyFrame):
        table = table.collect(engine="streaming")
    if isinstance(table, pl.DataFrame):
        return dict(zip(table.columns, table.get_columns(), strict=True))
    if isinstance(table, pa.Table | pa.RecordBatch):
        return _by_name(table.schema.names, table.columns, what)
    # By name, for pandas need not be there.
    if type(table).__module__.split(".")[0] == "pandas" and hasattr(table, "columns"):
        columns = [table.iloc[:, place] for place in range(table.shape[1])]
        return _by_name(map(str, table.columns), columns, what)
    if is_rows(table):
        return _of_rows(table, what)
    return None


def is_rows(rows):
    """Whether it is a list of rows that name their values, or an empty one."""
    # A named tuple is one row, or none.
    plain = isinstance(rows, list | tuple) and not hasattr(rows, "_asdict")
    return plain and (not rows or row_values(rows[0]) is not None)


def row_values(row):
    """The values of a row by their names; `None` where they have none."""
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "_asdict"):
        return row._asdict()
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {
            field.name: getattr(row, field.name) for field in dataclasses.fields(row)
        }
    return None


def _of_rows(rows, what):
    values = [row_values(row) for row in rows]
    names = list(values[0]) if values else []
    for number, (row, held) in enumerate(zip(rows, values, strict=True), 1):
        if held is None or set(held) != set(names):
            has = type(row).__name__ if held is None else sorted(map(str, held))
            raise ValueError(
                f"Row {number} of the {what} has {has}, but row 1 has "
                f"{sorted(map(str, names))}; give every row the same columns, None "
                "where there is no value."
            )
    return {name: [row[name] for row in values] for name in names}


def _by_name(names, columns, what):
    names = list(names)
    check_once(names, f"The table of {what}")
    return dict(zip(names, columns, strict=True))
