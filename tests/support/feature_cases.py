"""A small schema, its batches, and the questions that each kind of column is asked."""

import keras
import numpy as np
from keras import ops
from seeds import set_seed

import keras_t4r as t4r

ITEMS, COUNTRIES = 20, 4


def column(name, *tags, domain=None, is_list=True, dtype="int64", **more):
    count = (1, 6) if is_list else None
    return t4r.ColumnSchema(name, dtype, tags, domain, count, **more)


ITEM = column("item_id", "item_id", "categorical", domain=t4r.Domain(2, ITEMS, "item"))
AGE = column("age", "continuous", dtype="float32")
COUNTRY = column(
    "country", "categorical", domain=t4r.Domain(1, COUNTRIES), is_list=False
)
SCORE = column("score", "continuous", dtype="float32", is_list=False)
SECONDS = column("seconds", "timestamp", dtype="float32")


def batch(*columns, rows=3, time=5, seed=0):
    """Random sessions, the first of them of three events."""
    rng = np.random.default_rng(seed)
    x = {}
    for c in columns:
        shape = (rows, time) if c.is_list else (rows,)
        if c.is_categorical:
            x[c.name] = rng.integers(c.first_id, c.cardinality, shape).astype("int32")
        elif c.is_timestamp:
            pauses = rng.integers(1, 90_000, shape).astype("float32")
            x[c.name] = np.cumsum(pauses, axis=1)
        else:
            x[c.name] = rng.normal(size=shape).astype("float32")
        if c.is_list:
            x[c.name][0, 3:] = 0
    return x


def values(x):
    return ops.convert_to_numpy(x)


def make_model(schema, loss=None, **features):
    set_seed(3)
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, d_output=8, **features)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    scores = t4r.NextItemHead(loss)(keras.layers.Dense(8)(x), targets, table)
    model = t4r.SessionModel(inputs, scores)
    model.compile(keras.optimizers.SGD(0.5), probe=False)
    return model


def answers(model, x):
    return values(model(x, training=False))


def check_everything(schema, x, folder, make_columns, **more):
    """An encoder in a whole model: saved, made again, trained, in half precision.

    Args:
        schema: `Schema`.
        x: a batch, whose first session ends in padding.
        folder: path.
        make_columns: function that gives `columns`.
        more: further arguments of the features.
    """
    model = make_model(schema, columns=make_columns(), **more)
    before = answers(model, x)
    check_padding(schema, model, x, before)
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    loaded = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_allclose(answers(loaded, x), before, atol=1e-6)
    clone = keras.models.clone_model(model)
    assert clone.get_config() == model.get_config()
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(answers(clone, x), before, atol=1e-6)
    again = t4r.SessionModel.from_config(model.get_config())
    again.load_weights(folder / "model.weights.h5")
    np.testing.assert_allclose(answers(again, x), before, atol=1e-6)
    check_training(model, x)
    half = make_model(
        schema, columns=_in_half(make_columns), dtype="mixed_float16", **more
    )
    assert np.isfinite(answers(half, x)[:, 2:]).all()
    assert {w.dtype for w in half.trainable_weights} == {"float32"}
    return model


def check_padding(schema, model, x, expected):
    """More padding changes nothing."""
    longer = {
        c.name: np.pad(x[c.name], [(0, 0), (0, 3)] + [(0, 0)] * (x[c.name].ndim - 2))
        if c.is_list
        else x[c.name]
        for c in schema
    }
    np.testing.assert_allclose(answers(model, longer), expected, atol=1e-5)


def check_training(model, x):
    """Every weight of the features that is to be trained is."""
    trained = model.features.trainable_weights
    before = [values(w).copy() for w in trained]
    model.fit(x, batch_size=len(x["item_id"]), epochs=2, verbose=0)
    still = [
        w.path
        for w, b in zip(trained, before, strict=True)
        if np.array_equal(values(w), b)
    ]
    assert not still
    assert np.isfinite(answers(model, x)[:, 2:]).all()


def _in_half(make_columns):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return make_columns()
    finally:
        keras.config.set_dtype_policy("float32")
