"""One SavedModel that answers: encoded or raw ids in, raw ids and scores out."""

import warnings

import keras
import numpy as np

from keras_t4r.arguments import truth
from keras_t4r.files import Known, as_path, new_folder
from keras_t4r.models.answers.excluded import EXCLUDE
from keras_t4r.models.answers.recommender import NO_ITEM
from keras_t4r.models.checks.divergence import check_finite
from keras_t4r.models.checks.vector_checks import check_vectors
from keras_t4r.schema import LARGEST_NUMBER
from keras_t4r.serving.served_outputs import EVENTS, ServedOutputs

# The files that TensorFlow writes, as a regular expression.
SAVED_MODEL_FILES = (
    r"saved_model\.pb|fingerprint\.pb|"
    r"variables/variables\.(index|data-[0-9]+-of-[0-9]+)"
)
SAVED_MODEL = Known("saved_model.pb", SAVED_MODEL_FILES)
# What stands for "no item", in inputs and in answers.
_PADDING = {"int64": NO_ITEM, "string": ""}


def export_saved_model(
    model, path, k=20, exclude_seen=False, exclude=False, overwrite=False
):
    """Writes a SavedModel that answers, for TF Serving, Triton or plain TensorFlow.

    The top-k and the removal of seen items are in the graph, the very functions of
    `SessionModel.recommend`; all outputs come of one forward pass. Batch and time are
    free axes; XLA is not used.

    Signature `serving_default`: one input a column of the model, named as that of
    `Schema.inputs` (`class` is `class_`, `item id` is `item_id`); outputs have the
    names of their columns as they are:
    right-padded `(batch, time)` for lists, `(batch, time, most)` for vectors and bags,
    `(batch,)` for the others; int32 for encoded ids, float32 for numbers. Vectors that
    a loader looks up are for the client to look up, in the same file. Where the model
    has one output, next-item scores of the items, it answers with the item column,
    `(batch, k)` raw ids (int64, or strings), and `"scores"`, `(batch, k)` float32, best
    first. Otherwise the names are those of the model's outputs:

    - A next-item output: `OUTPUT`, `(batch, k)` raw ids of its column, and
      `OUTPUT_scores`. One of fewer than `k` ids answers with all of them.
    - Any other: `OUTPUT`, its values in float32. Values of events, `(batch, time, …)`,
      are right-padded with 0, and are of the events that the model read, the newest
      `max_history`. With them comes `"events"`, `(batch,)` int32: how many they are.

    Where a column has no vocabulary the ids are the encoded ones. Where fewer than `k`
    items are left, the last places hold none: their score is minus infinity, and their
    id -1, `""`, or 0 without a vocabulary.

    Signature `recommend_raw`, where every column of the model is categorical and has
    a vocabulary: the same with raw ids as inputs, int64 padded with -1 or strings
    padded with `""`. Ids that the vocabulary does not hold count as unknown.

    Args:
        model: `SessionModel`.
        path: path. Folder to write.
        k: int. Number of items in an answer.
        exclude_seen: bool. Leave out the items of the session itself, from outputs of
            the items.
        exclude: bool. Take a further input, `exclude`, in both signatures: ids of
            items that outputs of the items leave out, `(batch, n)` or, for all
            sessions, `(1, n)`; encoded ones padded with 0, raw ones as sessions are.
        overwrite: bool. Replace the SavedModel at `path`.

    Raises:
        FileExistsError: `path` exists, and `overwrite` is false; or it holds a file
            that this function did not write, as in `assets.extra/`, which is never
            replaced.
        TypeError: `path` is no path.
        ValueError: there can be no such path; `k` is not between 1 and the number of
            items; `exclude_seen` or `exclude` is asked of a model that has no output
            of the items; a column has the name of the input `exclude`;
            two tensors of the answer would have the same name; a weight is NaN or
            infinite; or Keras runs on another backend than TensorFlow.

    Example:

    ```python
    export_saved_model(model, "export/1", k=10)
    served = tf.saved_model.load("export/1").signatures["recommend_raw"]
    served(item_id=tf.constant([["214717005", "214716986"]]))
    ```
    """
    exclude_seen = truth("exclude_seen", exclude_seen)
    exclude = truth("exclude", exclude)
    overwrite = truth("overwrite", overwrite)
    # Before the answer is built, which takes long.
    path = as_path(path, "a SavedModel")
    columns = ServedOutputs.of(model).columns
    vocabularies = {name: model.vocabulary(name) for name in columns}
    if exclude:
        check_free([c.plain_name for c in model.schema])
    write_saved_model(model, path, vocabularies, k, exclude_seen, exclude, overwrite)


def check_free(columns):
    """Raises where one of the columns has the name of the input `exclude`."""
    if EXCLUDE in columns:
        raise ValueError(
            f"A column is named {EXCLUDE!r}, as the input of ids that are not to be "
            "answered is: rename the column."
        )


def write_saved_model(
    model, path, vocabularies, k, exclude_seen, exclude, overwrite=False
):
    """`export_saved_model` with the vocabularies given.

    Args:
        vocabularies: dict of each column that is answered to its `Vocabulary`, or to
            `None`.
    """
    archive = archive_of(model)
    answer = _answerer(model, vocabularies, k, exclude_seen)
    given = encoded_signature(model.schema, exclude)
    archive.add_endpoint("serving_default", answer, [given])
    if _reads_raw(model):
        encode, tables = _encoder(model)
        for table in tables:
            archive.track(table)
        archive.add_endpoint(
            "recommend_raw",
            lambda inputs: answer(encode(inputs)),
            [_signature(model.schema, lambda c: raw_type(model, c), exclude)],
        )
    with new_folder(path, overwrite, known_by=SAVED_MODEL) as folder:
        archive.write_out(str(folder), verbose=False)


def archive_of(model):
    """An `ExportArchive` that holds a model's variables, and no signature yet."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Keras runs on {keras.backend.backend()!r} here, and a SavedModel is "
            "written by TensorFlow: save the model as .keras, and export it in a "
            "process started with KERAS_BACKEND=tensorflow."
        )
    check_vectors(model)
    check_finite(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    return archive


def raw_type(model, column):
    """`"int64"` or `"string"`: what a column's vocabulary holds."""
    return model.vocabulary(column.name).dtype


def _answerer(model, vocabularies, k, exclude_seen):
    """A function from encoded inputs to the tensors of an answer, by their names."""
    import tensorflow as tf

    served, item = ServedOutputs.of(model), model.schema.item_id
    raw = {column: decoder(v) for column, v in vocabularies.items()}

    def answer(inputs):
        inputs = checked(model.schema, inputs)
        exclude = inputs.pop(EXCLUDE, None)
        if exclude is not None:
            sessions = tf.shape(inputs[item])[0]
            exclude = tf.broadcast_to(exclude, [sessions, tf.shape(exclude)[1]])
        outputs = model.answers(inputs, k, exclude_seen, exclude)
        found = {name: outputs[name] for name in served.plain}
        for name, (ids, scores, column) in served.ranked.items():
            found[scores], index = outputs[name]
            found[ids] = raw[column](index)
        if served.of_events:
            events = tf.math.count_nonzero(inputs[item], axis=1, dtype=tf.int32)
            found[EVENTS] = tf.minimum(events, model.max_history)
        return found

    return answer


def checked(schema, inputs):
    """Encoded inputs that stop the graph where they are no sessions of the schema."""
    import tensorflow as tf

    with tf.control_dependencies(_assertions(schema, inputs)):
        return {name: tf.identity(x) for name, x in inputs.items()}


def _assertions(schema, inputs):
    """What stops the graph where inputs are no sessions that the model can read."""
    import tensorflow as tf

    items = inputs[schema.item_id]
    late = tf.logical_and(items[:, 1:] != 0, items[:, :-1] == 0)
    checks = [
        (
            tf.logical_not(tf.reduce_any(late)),
            "a session has an event after padding: pad sessions on the right, as "
            "[5, 6, 7, 0, 0]",
        )
    ]
    for column in schema:
        values = inputs[column.name]
        if column.is_categorical:
            fine = tf.logical_and(values >= 0, values < column.cardinality)
            why = f"ids of {column.name!r} run from 0 to {column.cardinality - 1}"
        else:
            fine = tf.abs(values) <= LARGEST_NUMBER
            why = f"a number of {column.name!r} is NaN, or beyond {LARGEST_NUMBER:g}"
        checks.append((tf.reduce_all(fine), why))
    if EXCLUDE in inputs:
        ids, rows = inputs[EXCLUDE], schema[schema.item_id].cardinality
        fine = tf.reduce_all(tf.logical_and(ids >= 0, ids < rows))
        checks.append((fine, f"ids of {EXCLUDE!r} run from 0 to {rows - 1}"))
    return [tf.debugging.Assert(fine, [why]) for fine, why in checks]


def decoder(vocabulary):
    """A function from encoded to raw ids; to int64 ones without a vocabulary."""
    import tensorflow as tf

    if vocabulary is None:
        return lambda ids: tf.cast(ids, tf.int64)
    # Also of ids that have no raw value.
    nothing = np.full(vocabulary.first_id, _PADDING[vocabulary.dtype], object)
    values = np.concatenate([nothing, _plain(vocabulary)])
    raw = tf.constant(values.tolist(), vocabulary.dtype)
    return lambda ids: tf.gather(raw, ids)


def _encoder(model):
    """A function from raw to encoded inputs, and the lookup tables that it uses."""
    import tensorflow as tf

    tables = {}
    for column in model.schema:
        vocabulary = model.vocabulary(column.name)
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
        if EXCLUDE in inputs:
            ids = tables[model.schema.item_id].lookup(inputs[EXCLUDE])
            encoded[EXCLUDE] = tf.cast(ids, tf.int32)
        return encoded

    return encode, list(tables.values())


def _reads_raw(model):
    for column in model.schema:
        if not column.is_categorical:
            return False
        vocabulary = model.vocabulary(column.name)
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


def encoded_signature(schema, exclude=False):
    """Dict of column, and of `exclude` on request, to its encoded `TensorSpec`."""
    return _signature(
        schema, lambda column: "int32" if column.is_categorical else "float32", exclude
    )


def _signature(schema, dtype, exclude):
    import tensorflow as tf

    specs = {
        column.name: tf.TensorSpec(
            (None, *column.shape),
            dtype(column),
            column.plain_name,
        )
        for column in schema
    }
    if exclude:
        of_items = dtype(schema[schema.item_id])
        specs[EXCLUDE] = tf.TensorSpec((None, None), of_items, EXCLUDE)
    return specs


def _plain(vocabulary):
    return np.array(vocabulary.values.to_list(), dtype=object)
