"""TransformerBlock hands the times of the events to a body that reads them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_t4r.bodies import GRUConfig, HSTUConfig
from keras_t4r.layers.transformer_block import TransformerBlock

IDS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [5, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
TIMES = 1_700_000_000 + np.array([[0, 9, 40, 41, 900]] * 4, "int32")


def make_block(**kwargs):
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "initializer_range": 0.25}
    return TransformerBlock(HSTUConfig(**sizes, dropout=0.0), **kwargs)


def a_model():
    ids = keras.Input((None,), dtype="int32")
    times = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(10, 16, mask_zero=True)(ids)
    x = make_block(name="block")(x, times=times)
    return keras.Model([ids, times], keras.layers.Dense(10)(x))


@pytest.mark.backends
def test_a_model_with_times_trains_and_comes_back_from_its_file(tmp_path):
    model = a_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    losses = model.fit([IDS, TIMES], IDS, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert model.get_layer("block").body.timed
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    before = ops.convert_to_numpy(model([IDS, TIMES]))
    np.testing.assert_array_equal(ops.convert_to_numpy(again([IDS, TIMES])), before)
    # Padding comes out as zeros, of which the last layer makes its bias.
    assert before[IDS == 0].std(axis=0).max() < 1e-6 < 0.01 < before[IDS != 0].std()
    # And times matter.
    other = ops.convert_to_numpy(model([IDS, TIMES + 60 * np.arange(5, dtype="int32")]))
    assert np.abs(other - before)[IDS != 0].max() > 1e-4


@pytest.mark.backends
def test_without_times_there_is_no_weight_for_them():
    x = np.random.default_rng(0).normal(size=(4, 5, 16)).astype("float32")
    plain, timed = make_block(), make_block()
    plain(x)
    timed(x, times=TIMES)
    assert len(timed.weights) == len(plain.weights) + 2
    mask = ops.convert_to_tensor(IDS != 0)
    assert timed(x, mask=mask, times=TIMES).shape == (4, 5, 16)
    assert timed.compute_output_shape((None, None, 16), times_shape=(None, None)) == (
        None,
        None,
        16,
    )


@pytest.mark.backends
def test_the_mask_of_the_input_is_used_with_times_too():
    embedding = keras.layers.Embedding(10, 16, mask_zero=True)
    for layer in (make_block(), make_block().body):
        y = layer(embedding(IDS), times=TIMES)
        explicit = layer(
            embedding.call(IDS), mask=ops.convert_to_tensor(IDS != 0), times=TIMES
        )
        np.testing.assert_array_equal(
            ops.convert_to_numpy(y), ops.convert_to_numpy(explicit)
        )
        np.testing.assert_array_equal(ops.convert_to_numpy(y._keras_mask), IDS != 0)
        symbolic = embedding(keras.Input((None,), dtype="int32"))
        y = layer(symbolic, times=keras.Input((None,), dtype="int32"))
        assert y._keras_mask is symbolic._keras_mask


def test_integers_reach_the_body_as_they_are_in_half_precision():
    x = np.random.default_rng(0).normal(size=(4, 5, 16)).astype("float32")
    block = make_block(dtype="mixed_float16")
    near, far = TIMES.copy(), TIMES.copy()
    far[:, -1] += 500
    y = [ops.convert_to_numpy(block(x, times=t)) for t in (near, far)]
    assert np.isfinite(y).all()
    assert np.abs(y[0] - y[1])[:, -1].max() > 1e-4
    np.testing.assert_array_equal(y[0][:, :-1], y[1][:, :-1])


def test_a_body_that_reads_no_times_refuses_them():
    x = np.zeros((4, 5, 16), "float32")
    with pytest.raises(ValueError, match="GRU cannot be told the times of the events"):
        TransformerBlock(GRUConfig(hidden_size=16))(x, times=TIMES)
    with pytest.raises(ValueError, match="Dense cannot be told the times"):
        TransformerBlock(keras.layers.Dense(3))(x, times=TIMES)


def test_a_graph_of_any_length_runs_with_times():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow runs one graph for every length")
    block = make_block()
    graph = tf.function(
        lambda x, times: block(x, times=times),
        input_signature=[
            tf.TensorSpec((None, None, 16)),
            tf.TensorSpec((None, None), tf.int64),
        ],
    )
    assert graph(tf.zeros((2, 7, 16)), tf.zeros((2, 7), tf.int64)).shape == (2, 7, 16)
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph(tf.zeros((2, 7, 16)), tf.zeros((2, 6), tf.int64))
