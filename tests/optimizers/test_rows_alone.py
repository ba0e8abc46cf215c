"""Whose tables are handed on as variables: those of models that train rows alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from row_sparse_models import ROWS, session_model, sessions

import keras_t4r as t4r
from keras_t4r import optimizers

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="only TensorFlow has gradients of some rows",
)


def features_of(model):
    return next(
        layer
        for layer in model.layers
        if isinstance(layer, t4r.SequenceEmbeddingFeatures)
    )


def table_of(model):
    return next(v for v in features_of(model).trainable_variables if v.shape[0] == ROWS)


def rows_moved(model, x):
    """How many rows of the table move in a step, after one that moved some."""
    model.train_on_batch(x)
    before = ops.convert_to_numpy(table_of(model)).copy()
    model.train_on_batch({"item_id": x["item_id"][:1]})
    moved = ops.convert_to_numpy(table_of(model)) != before
    return int(moved.any(1).sum())


def is_live(table):
    return not tf.is_tensor(table) or isinstance(table, tf.Variable)


def test_a_table_that_is_read_outside_a_model_is_a_tensor():
    x = sessions()
    trained = session_model(optimizer=optimizers.RowSparseAdam(0.01))
    trained.fit(x, verbose=0)
    other = session_model()
    for model in (trained, other):
        table = features_of(model)({"item_id": x["item_id"]})[1]
        assert not is_live(table)
        assert not is_live(features_of(model)({"item_id": x["item_id"]})[1])
        before = ops.convert_to_numpy(table).copy()
        model.train_on_batch(x)
        np.testing.assert_array_equal(ops.convert_to_numpy(table), before)


def test_another_models_optimizer_changes_nothing():
    """Keras's Adam, given a row several times, would take it for several rows."""
    x = {"item_id": np.array([[5, 6, 5, 6, 5, 6]] * 4)}

    def trained():
        keras.utils.set_random_seed(1)
        model = session_model(optimizer=keras.optimizers.Adam(0.01))
        for _ in range(3):
            model.train_on_batch(x)
        return model.get_weights()

    alone = trained()
    row_sparse = session_model(optimizer=optimizers.RowSparseAdam(0.01))
    row_sparse.train_on_batch(x)
    for one, other in zip(alone, trained(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_trains_as_it_was_compiled_last():
    x = sessions()
    model = session_model(optimizer=optimizers.RowSparseAdam(0.01))
    assert rows_moved(model, x) < 20
    model.compile(keras.optimizers.Adam(0.01))
    # Adam's moments move rows that the second step did not touch.
    assert rows_moved(model, x) > 40
    model.compile(optimizers.RowSparseAdam(0.01))
    assert rows_moved(model, x) < 20


@pytest.mark.parametrize("wrapped", ["scaled", "several", "eager"])
def test_optimizers_that_stand_for_others_train_as_these(wrapped):
    adam = optimizer = optimizers.RowSparseAdam(0.01)
    model = session_model()
    if wrapped == "scaled":
        optimizer = keras.optimizers.LossScaleOptimizer(adam)
    elif wrapped == "several":
        if not hasattr(keras.optimizers, "MultiOptimizer"):
            pytest.skip("this Keras has none")
        table, dense = table_of(model), keras.optimizers.SGD(0.01)
        optimizer = keras.optimizers.MultiOptimizer(
            lambda v: adam if v is table else dense
        )
    model.compile(optimizer, run_eagerly=wrapped == "eager")
    assert 0 < rows_moved(model, sessions()) < 20


def test_parts_in_a_model_of_keras_train_rows_alone_too():
    x = sessions()
    of_parts = session_model()
    model = keras.Model(of_parts.inputs, of_parts.outputs)
    model.compile(optimizers.RowSparseAdam(0.01))
    for _ in range(2):
        before = ops.convert_to_numpy(table_of(of_parts)).copy()
        model.fit({"item_id": x["item_id"][:1]}, verbose=0)
        moved = ops.convert_to_numpy(table_of(of_parts)) != before
        assert 0 < moved.any(1).sum() < 20


@pytest.mark.parametrize("make", [keras.optimizers.Adam, optimizers.RowSparseAdam])
def test_a_loss_may_be_scaled_by_a_factor(make):
    weights = []
    for factor in (None, 1024.0):
        keras.utils.set_random_seed(1)
        model = session_model(optimizer=make(0.01, loss_scale_factor=factor))
        model.train_on_batch(sessions())
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
