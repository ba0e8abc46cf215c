"""Vectors of raw ids, as rows of a table by encoded id."""

import os
import warnings

import numpy as np
import pyarrow as pa

from keras_t4r.arguments import one_of
from keras_t4r.arrays import as_array, unmasked
from keras_t4r.data.column_names import check_once
from keras_t4r.data.loader.arrow_layouts import is_list, one_array
from keras_t4r.files import as_path
from keras_t4r.files.parquet import read_parquet
from keras_t4r.files.sentences import first_line
from keras_t4r.schema import PADDING_ID, check_schema
from keras_t4r.schema.plain_numbers import plain_numbers
from keras_t4r.schema.raw_values import NO_SERIES


def vectors_by_id(vectors, schema, column, missing="zeros"):
    """A table of vectors, a row an encoded id, from vectors by raw id.

    Raw ids that the vocabulary does not hold are passed over. Ids without a vector,
    those of unknown values among them, get what `missing` says, and a warning says how
    many they are.

    Args:
        vectors: a parquet file by its path, a `pyarrow.Table`, or a dict of lists or
            arrays, of two columns: raw ids, and a list of floats each, all of one
            width. Which is which is seen by their types.
        schema: `Schema` with the vocabulary of the column.
        column: string. The column of ids.
        missing: `"zeros"`, or `"mean"` of the vectors that are taken.

    Returns:
        A float32 array `(cardinality, width)`; row 0, the padding, is zeros.

    Raises:
        TypeError: there are other columns than a column of ids and one of lists, or one
            cannot be read.
        FileNotFoundError: there is no such file.
        ValueError: the column has no vocabulary; two columns have one name, or differ
            in length; an id stands twice; a vector is null, of another width, or holds
            a number that is none; or no id has a vector.

    Example:

    ```python
    vectors = vectors_by_id(
        {"sku": ["a", "b"], "vector": np.load("encoded.npy")}, schema, "item_id"
    )
    features = SequenceEmbeddingFeatures(
        schema, columns={"item_id": PretrainedEmbedding(vectors, adaptor=64)}
    )
    ```
    """
    one_of("missing", missing, ["zeros", "mean"])
    check_schema(schema, needed=True)
    vocabulary = schema.vocabulary(column)
    if vocabulary is None:
        raise ValueError(
            f"Column {column!r} has no vocabulary beside the schema, so raw ids cannot "
            "be told: give a table of vectors by encoded id."
        )
    where, ids, rows = _columns(vectors)
    encoded = vocabulary.encode(ids)
    taken = encoded >= vocabulary.first_id
    encoded = encoded[taken]
    if not len(encoded):
        raise ValueError(
            f"None of the ids of {where} is in the vocabulary of column {column!r}, "
            f"as {vocabulary.values[0]!r} is: give raw ids, as they stand in the log."
        )
    if len(np.unique(encoded)) < len(encoded):
        twice = np.flatnonzero(np.bincount(encoded) > 1)[0]
        raise ValueError(
            f"Id {vocabulary.decode([twice])[0]!r} has several vectors in {where}: "
            "leave one of them."
        )
    rows = rows[taken]
    table = np.zeros((schema[column].cardinality, rows.shape[1]), "float32")
    table[encoded] = rows
    without = np.ones(len(table), bool)
    without[encoded] = without[PADDING_ID] = False
    if missing == "mean":
        table[without] = rows.mean(axis=0)
    lacking = int(without[vocabulary.first_id :].sum())
    if lacking:
        warnings.warn(
            f"{lacking} of the {len(vocabulary)} ids of column {column!r} have no "
            f"vector in {where}; theirs is {_SAID[missing]}.",
            stacklevel=2,
        )
    return table


_SAID = {"zeros": "zeros", "mean": "the mean of the others"}


def _columns(vectors):
    """What to call them, raw ids, and an array `(ids, width)`."""
    where, title = "the vectors", "The table of vectors"
    if isinstance(vectors, (str, os.PathLike)):
        path = as_path(vectors, "vectors")
        if not path.is_file():
            raise FileNotFoundError(f"There is no file of vectors at {path}.")
        where = title = str(path)
        vectors = read_parquet(path)
    elif isinstance(vectors, dict):
        arrays = {name: _as_arrow(name, v) for name, v in vectors.items()}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The columns of the vectors differ in length: {lengths}.")
        vectors = pa.table(arrays)
    if not isinstance(vectors, pa.Table):
        raise TypeError(
            "vectors come as the path of a parquet file, as a pyarrow.Table or as a "
            f"dict of two columns; this is a {type(vectors).__name__}."
        )
    check_once(vectors.column_names, title)
    columns = {name: one_array(vectors[name]) for name in vectors.column_names}
    lists = [name for name, column in columns.items() if is_list(column.type)]
    plain = [name for name in columns if name not in lists]
    if len(lists) != 1 or len(plain) != 1:
        raise TypeError(
            f"{where}: a column of raw ids and one of lists of floats are wanted; "
            f"those of lists are {lists}, the others {plain}."
        )
    return where, columns[plain[0]], _rows(columns[lists[0]], where)


def _as_arrow(name, values):
    values = unmasked(values)
    if not isinstance(values, list):
        values = as_array(f"Column {name!r} of the vectors", values)
    try:
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        return pa.array(plain_numbers(values) if isinstance(values, list) else values)
    except (OverflowError, *NO_SERIES) as error:
        raise TypeError(
            f"Column {name!r} of the vectors cannot be read ({first_line(error)}): "
            "give raw ids, or a list of floats for each."
        ) from error


def _rows(column, where):
    flat = column.flatten()
    widths = np.unique(column.value_lengths().fill_null(-1).to_numpy())
    if len(widths) != 1 or widths[0] < 1:
        raise ValueError(
            f"{where}: vectors have widths {widths.tolist()} (-1 is null); all should "
            "have one."
        )
    if flat.null_count or not pa.types.is_floating(flat.type):
        raise TypeError(
            f"{where}: vectors hold {flat.type}"
            f"{' with nulls' if flat.null_count else ''}; they should hold floats."
        )
    rows = flat.to_numpy(zero_copy_only=False).astype("float32")
    rows = rows.reshape(len(column), int(widths[0]))
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{where}, row {int(bad.argmax()) + 1}: a number of the vector is none, or "
            "infinite: leave the row out."
        )
    return rows
