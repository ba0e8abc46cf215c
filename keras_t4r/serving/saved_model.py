"""One SavedModel that answers: encoded or raw ids in, raw ids and scores out."""

import warnings

import keras

from keras_t4r.files import new_folder
from keras_t4r.schema import UNKNOWN_ID

SCORES = "scores"
_PADDING = {"int64": -1, "string": ""}


def export_saved_model(model, path, k=20, exclude_seen=False, overwrite=False):
    """Writes a SavedModel that recommends, for TF Serving, Triton or plain TensorFlow.

    The top-k and the removal of seen items are in the graph, the very functions of
    `SessionModel.recommend`. Batch and time are free axes; XLA is not used.

    Signature `serving_default`: one input a column of the model, named after it:
    right-padded `(batch, time)` for lists, `(batch,)` for the others; int32 for
    encoded ids, float32 for numbers. Outputs: the item column, `(batch, k)` raw ids
    (int64, or strings), and `"scores"`, `(batch, k)` float32, best first. Where the
    model has no vocabulary the ids are the encoded ones.

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
    """`export_saved_model` with the items' raw values given, or `None`."""
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
    values = model.features.vocabulary(column.name)
    return "int64" if str(values.type).startswith(("int", "uint")) else "string"


def _recommend(model, vocabulary, k, exclude_seen):
    import tensorflow as tf

    item = model.schema[model.schema.item_id]
    values = None if vocabulary is None else tf.constant(_plain(vocabulary))

    def recommend(inputs):
        scores, ids = model.top_k(inputs, k, exclude_seen)
        if values is None:
            ids = tf.cast(ids, tf.int64)
        else:
            ids = tf.gather(values, ids - item.first_id)
        return {item.name: ids, SCORES: scores}

    return recommend


def _encoder(model):
    """A function from raw to encoded inputs, and the lookup tables that it uses."""
    import tensorflow as tf

    tables = {}
    for column in model.schema:
        values = tf.constant(_plain(model.features.vocabulary(column.name)))
        ids = tf.range(column.first_id, column.first_id + len(values))
        tables[column.name] = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(values, tf.cast(ids, tf.int64)),
            default_value=UNKNOWN_ID,
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
        values = model.features.vocabulary(column.name)
        if not column.is_categorical or values is None:
            return False
        padding = _PADDING[raw_type(model, column)]
        if column.is_list and padding in _plain(values):
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
    return vocabulary.to_numpy(zero_copy_only=False)
