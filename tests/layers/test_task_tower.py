"""TaskTower: the dense layers of one task."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.layers.attach_mask import AttachMask

pytestmark = pytest.mark.backends

X = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("float32")


@pytest.mark.parametrize("units", [3, (8, 3), [8, 4, 3]])
def test_it_is_dense_layers_one_after_the_other(units):
    tower = t4r.TaskTower(units, activation="tanh", use_bias=False)
    y = ops.convert_to_numpy(tower(X))
    expected = X
    for kernel in tower.weights:
        expected = np.tanh(expected @ ops.convert_to_numpy(kernel))
    assert len(tower.weights) == np.size(units)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert tower.compute_output_shape((None, None, 6)) == (None, None, 3)


def test_dropout_is_active_in_training_only_and_differs_by_layer():
    tower = t4r.TaskTower((6, 6), activation=None, dropout=0.5, seed=1)
    tower.build(X.shape)
    for weight in tower.trainable_weights:
        # The identity, so that what is dropped shows.
        weight.assign(np.eye(6) if len(weight.shape) == 2 else np.zeros(6))
    np.testing.assert_allclose(ops.convert_to_numpy(tower(X)), X, atol=1e-6)
    y = ops.convert_to_numpy(tower(np.ones((200, 50, 6)), training=True))
    assert (y == 0).mean() == pytest.approx(0.75, abs=0.02)
    assert y.max() == 4.0


def test_it_hands_the_mask_on():
    mask = np.arange(5) < np.array([[5], [3], [1], [0]])
    x = AttachMask()((ops.convert_to_tensor(X), ops.convert_to_tensor(mask)))
    y = t4r.TaskTower(3)(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(y._keras_mask), mask)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    tower = t4r.TaskTower((8, 3), dtype=policy)
    assert keras.backend.standardize_dtype(tower(X).dtype) == policy[6:]
    assert {w.dtype for w in tower.weights} == {"float32"}


def test_it_comes_back_and_trains_between_keras_layers(tmp_path):
    x = keras.Input((None, 6))
    tower = t4r.TaskTower(
        (8, 4), "gelu", 0.1, kernel_regularizer=keras.regularizers.L2(1e-3), seed=2
    )
    model = keras.Model(x, keras.layers.Dense(1)(tower(keras.layers.Dense(5)(x))))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    before = [ops.convert_to_numpy(w) for w in tower.trainable_weights]
    losses = model.fit(X, X[..., :1], epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old, weight in zip(before, tower.trainable_weights, strict=True):
        assert (ops.convert_to_numpy(weight) != old).any()
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_allclose(other.predict(X, verbose=0), expected, atol=1e-6)


def test_it_serializes():
    tower = t4r.TaskTower((8, 3), "gelu", 0.2, False, "he_normal", "l2", 3)
    config = keras.saving.serialize_keras_object(tower)
    loaded = keras.saving.deserialize_keras_object(config)
    assert loaded.get_config() == tower.get_config()


@pytest.mark.parametrize("units", [0, (), (4, -1), 2.5])
def test_it_refuses_units_that_make_no_sense(units):
    with pytest.raises((TypeError, ValueError), match="units of TaskTower is"):
        t4r.TaskTower(units)


def test_it_refuses_a_dropout_that_makes_no_sense():
    for dropout in (1, -0.1, float("nan"), "a"):
        with pytest.raises((TypeError, ValueError), match="dropout is"):
            t4r.TaskTower(4, dropout=dropout)
