"""One SavedModel that answers: encoded or raw ids in, raw ids and scores out."""

import warnings

import keras
import numpy as np

from keras_t4r.files import new_folder
from keras_t4r.models.recommender import NO_ITEM

SCORES = "scores"
# What stands for "no item", in inputs and in answers.
_PADDING = {"int64": NO_ITEM, "string": ""}


def export_saved_model(model, path, k=20, exclude_seen=False, overwrite=False):
    """Writes a SavedModel that recommends, for TF Serving, Triton or plain TensorFlow.

    The top-k and the removal of seen items are in the graph, the very functions of
    `SessionModel.recommend`. Batch and time are free axes; XLA is not used.

    Signature `serving_default`: one input a column of the model, named after it:
    right-padded `(batch, time)` for lists, `(batch,)` for the others; int32 for
    encoded ids, float32 for numbers. Outputs: the item column, `(batch, k)` raw ids
    (int64, or strings), and `"scores"`, `(batch, k)` float32, best first. Where the
    model has no vocabulary the ids are the encoded ones. Where fewer than `k` items are
    left, the last places hold none: their score is minus infinity, and their id -1,
    `""`, or 0 without a vocabulary.

    Signature `recommend_raw`, where every column of the model is categorical and has
    a vocabulary: the same with raw ids as inputs, int64 padded with -1 or strings
    padded with `""`. Ids that the vocabulary does not hold count as unknown.

    Args:
        model: `SessionModel`.
        path: path. Folder to write.
        k: int. Number of items in an answer.
        exclude_seen: bool. Leave out the items of the session itself.
        overwrite: bool. Replace what is at `path`.

    Raises:
        FileExistsError: `path` exists, and `overwrite` is false.
        ValueError: `k` is not between 1 and the number of items, or Keras runs on
            another backend than TensorFlow.

    Example:

    ```python
    export_saved_model(model, "export/1", k=10)
    served = tf.saved_model.load("export/1").signatures["recommend_raw"]
    served(item_id=tf.constant([["214717005", "214716986"]]))
    ```
    """
    vocabulary = model.features.vocabulary(model.schema.item_id)
    write_saved_model(model, path, vocabulary, k, exclude_seen, overwrite)


def write_saved_model(model, path, vocabulary, k, exclude_seen, overwrite=False):
    """`export_saved_model` with the items' `Vocabulary` given, or `None`."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Keras runs on {keras.backend.backend()!r} here, and a SavedModel is "
            "written by TensorFlow: save the model as .keras, and export it in a "
            "process started with KERAS_BACKEND=tensorflow."
        )
    archive = keras.export.ExportArchive()
    archive.track(model)
    recommend = _recommend(model, vocabulary, k, exclude_seen)
    archive.add_endpoint(
        "serving_default", recommend, [_signature(model.schema, _encoded_type)]
    )
    if _reads_raw(model):
        encode, tables = _encoder(model)
        for table in tables:
            archive.track(table)
        archive.add_endpoint(
            "recommend_raw",
            lambda inputs: recommend(encode(inputs)),
            [_signature(model.schema, lambda column: raw_type(model, column))],
        )
    with new_folder(path, overwrite) as folder:
        archive.write_out(str(folder), verbose=False)


def raw_type(model, column):
    """`"int64"` or `"string"`: what a column's vocabulary holds."""
    return model.features.vocabulary(column.name).dtype


def _recommend(model, vocabulary, k, exclude_seen):
    import tensorflow as tf

    item, values = model.schema.item_id, None
    if vocabulary is not None:
        no_item = np.full(vocabulary.first_id, _PADDING[vocabulary.dtype], object)
        values = np.concatenate([no_item, _plain(vocabulary)])
        values = tf.constant(values.tolist(), vocabulary.dtype)

    def recommend(inputs):
        scores, ids = model.top_k(inputs, k, exclude_seen)
        if values is None:
            ids = tf.cast(ids, tf.int64)
        else:
            ids = tf.gather(values, ids)
        return {item: ids, SCORES: scores}

    return recommend


def _encoder(model):
    """A function from raw to encoded inputs, and the lookup tables that it uses."""
    import tensorflow as tf

    tables = {}
    for column in model.schema:
        vocabulary = model.features.vocabulary(column.name)
        values = tf.constant(_plain(vocabulary).tolist(), vocabulary.dtype)
        ids = tf.range(vocabulary.first_id, vocabulary.last_id + 1)
        tables[column.name] = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(values, tf.cast(ids, tf.int64)),
            default_value=vocabulary.unknown_id,
        )

    def encode(inputs):
        encoded = {}
        for column in model.schema:
            raw = inputs[column.name]
            ids = tf.cast(tables[column.name].lookup(raw), tf.int32)
            if column.is_list:
                padding = _PADDING[raw_type(model, column)]
                ids = tf.where(raw == padding, 0, ids)
            encoded[column.name] = ids
        return encoded

    return encode, list(tables.values())


def _reads_raw(model):
    for column in model.schema:
        if not column.is_categorical:
            return False
        vocabulary = model.features.vocabulary(column.name)
        # Without an id for unknown values, a graph cannot refuse them.
        if vocabulary is None or vocabulary.unknown_id is None:
            return False
        padding = _PADDING[raw_type(model, column)]
        if column.is_list and padding in _plain(vocabulary):
            warnings.warn(
                f"Column {column.name!r} has {padding!r} as a value, which raw inputs "
                "use as padding: the signature `recommend_raw` is left out.",
                stacklevel=4,
            )
            return False
    return True


def _signature(schema, dtype):
    import tensorflow as tf

    return {
        column.name: tf.TensorSpec(
            (None, None) if column.is_list else (None,), dtype(column), column.name
        )
        for column in schema
    }


def _encoded_type(column):
    return "int32" if column.is_categorical else "float32"


def _plain(vocabulary):
    return np.array(vocabulary.values.to_list(), dtype=object)
