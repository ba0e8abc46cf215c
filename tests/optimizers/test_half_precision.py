"""Tables in bfloat16, which row-sparse optimizers round by chance."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from row_sparse_models import ITEMS, OPTIMIZERS, ROWS, sessions

import keras_t4r as t4r
from keras_t4r.backend import Rows

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="only TensorFlow has gradients of some rows",
)
SHAPE = (200, 16)
# Such that a step is of about a 1000th.
RATES = {
    "sgd": 3e-3,
    "momentum": 3e-4,
    "nesterov": 3e-4,
    "clipped": 0.03,
    "scaled": 0.05,
}


def after_steps(optimizer, dtype, whole, steps=40):
    """A table of ones after steps of one gradient: about a 1000th each."""
    table = keras.Variable(np.ones(SHAPE), dtype=dtype, name="table")
    optimizer.build([table])
    gradient = tf.fill(SHAPE, tf.constant(0.3, table.dtype))
    if not whole:
        # Each row twice.
        rows = tf.concat([tf.range(SHAPE[0])] * 2, 0)
        gradient = tf.concat([gradient / 2] * 2, 0)
        gradient = tf.IndexedSlices(gradient, rows, tf.constant(SHAPE))
    step = tf.function(lambda: optimizer.apply([gradient]))
    for _ in range(steps):
        step()
    optimizer.finalize_variable_values([table])
    return ops.convert_to_numpy(ops.cast(table, "float32"))


@pytest.mark.parametrize("whole", [False, True], ids=["rows", "whole"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_small_steps_are_as_in_float32_on_average(kind, whole, monkeypatch):
    make, _, options = OPTIMIZERS[kind]
    rate = RATES.get(kind, 1e-3)

    def moved(dtype):
        return 1 - after_steps(make(rate, **options), dtype, whole)

    expected = moved("float32").mean()
    found = moved("bfloat16")
    assert found.mean() == pytest.approx(expected, rel=0.05)
    # Rounded to what is nearest it stays where it is.
    monkeypatch.setattr(Rows, "_rounded", lambda _, x: tf.cast(x, tf.bfloat16))
    assert moved("bfloat16").mean() == pytest.approx(0, abs=expected / 3)


def test_what_is_rounded_is_the_same_in_each_run_and_another_in_each_step():
    one, again = (
        after_steps(t4r.optimizers.RowSparseSGD(0.003), "bfloat16", False, steps=2)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, again)
    # With the same chance in both a number would go down twice, or not at all.
    assert len(np.unique(one)) == 3


def half_model(dtype, optimizer, loss="sampled"):
    """Of `row_sparse_models`, with an encoder of the items in a dtype."""
    keras.utils.set_random_seed(1)
    domain = t4r.Domain(2, ITEMS)
    item = t4r.ColumnSchema(
        "item_id", "int64", ("item_id", "categorical"), domain, value_count=(1, 6)
    )
    schema = t4r.Schema((item,))
    inputs = schema.inputs()
    initial = keras.initializers.RandomNormal(stddev=0.05, seed=1)
    items = t4r.IdEmbedding(ROWS, 8, initial, dtype=dtype)
    x, table = t4r.SequenceEmbeddingFeatures(schema, columns={"item_id": items})(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    if loss == "full":
        loss = t4r.losses.FullSoftmax()
    else:
        sampler = t4r.losses.samplers.UniformSampler(64, seed=1)
        loss = t4r.losses.SampledSoftmax(sampler)
    model = t4r.SessionModel(inputs, t4r.NextItemHead(loss)(x, targets, table))
    model.compile(optimizer, metrics=[])
    return model, items


@pytest.mark.parametrize("loss", ["sampled", "full"])
def test_a_model_learns_as_in_float32(loss, tmp_path):
    x = sessions(64)

    def trained(dtype):
        model, items = half_model(dtype, t4r.optimizers.RowSparseAdam(0.05), loss)
        losses = model.fit(x, epochs=6, batch_size=16, verbose=0).history["loss"]
        return model, items, losses

    losses = trained("float32")[2]
    model, items, half = trained("bfloat16")
    assert losses[-1] < 0.9 * losses[0]
    np.testing.assert_allclose(half, losses, rtol=2e-3)
    # The table and its two moments.
    of_table = [v for v in model.optimizer.variables if v.shape == (ROWS, 8)]
    assert [v.dtype for v in [items.embeddings, *of_table]] == ["bfloat16"] * 3
    assert not ops.convert_to_numpy(ops.cast(items.embeddings, "float32"))[0].any()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    assert again.fit(x, batch_size=16, verbose=0).history["loss"][0] < half[-1] * 1.02


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_model_that_was_loaded_goes_on_as_the_one_saved(kind, tmp_path):
    x, make = sessions(64), OPTIMIZERS[kind][0]

    def table(model):
        (found,) = (w for w in model.trainable_weights if w.shape == (ROWS, 8))
        return ops.convert_to_numpy(ops.cast(found, "float32"))

    model, _ = half_model("bfloat16", make(0.05))
    model.fit(x, batch_size=16, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before = table(loaded)
    for each in (model, loaded):
        each.fit(x, batch_size=16, verbose=0, shuffle=False)
    np.testing.assert_array_equal(table(loaded), table(model))
    assert (table(loaded) != before).any()


def test_float16_is_refused():
    model, _ = half_model("float16", t4r.optimizers.RowSparseAdam(0.01))
    with pytest.raises(ValueError, match="is in float16, in which RowSparseAdam"):
        model.fit(sessions(), verbose=0)


def test_what_is_no_number_stays_none():
    """A GPU's NaN has all bits set: a carry would make it a zero."""
    variable = tf.Variable(tf.zeros((64, 2), tf.bfloat16))
    values = np.full((64, 2), 0x7FFFFFFF, "uint32").view("float32")
    values[:, 1] = np.inf
    Rows(variable, tf.range(64), tf.constant(0), 0).write(tf.constant(values))
    found = tf.cast(variable, "float32").numpy()
    assert np.isnan(found[:, 0]).all() and np.isposinf(found[:, 1]).all()
