"""Attention by blocks is attention in a window, at a cost that grows linearly."""

import keras
import numpy as np
import pytest
from body_kinds import lengths_to_run
from keras import ops

from keras_t4r.bodies import Roberta, make_body
from keras_t4r.bodies.parts.attention.local_attention import LocalAttention
from keras_t4r.bodies.parts.attention.self_attention import SelfAttention
from keras_t4r.bodies.parts.attention.visibility import (
    what_is_visible,
    within_window,
)

CAUSAL = pytest.mark.parametrize("causal", [False, True])
ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="only TensorFlow runs one graph for every length",
)
# Below, at and above the reach, the window, and what is cut into blocks; odd ones.
LENGTHS = (1, 2, 3, 4, 7, 9, 11, 12, 13, 15, 16, 17, 30, 41)


def the_two(reach, causal):
    """Attention by blocks, and plain attention with the same weights."""
    local = LocalAttention(16, 2, n_kv_head=1, reach=reach, causal=causal)
    plain = SelfAttention(16, 2, n_kv_head=1)
    for layer in (local, plain):
        layer.build((None, None, 16))
    plain.set_weights(local.get_weights())

    def run_local(x, mask):
        return local(x, visible=what_is_visible(ops.shape(x)[1], mask))

    def run_plain(x, mask):
        length = ops.shape(x)[1]
        visible = what_is_visible(length, mask, causal)
        return plain(x, visible=within_window(visible, length, reach + 1))

    return run_local, run_plain


@pytest.mark.backends("torch")
@CAUSAL
@pytest.mark.parametrize("reach", [1, 3, 8])
def test_it_is_plain_attention_in_a_window(reach, causal, events):
    local, plain = the_two(reach, causal)
    for length in lengths_to_run(LENGTHS):
        x, mask = events(batch=3, time=length, width=16)
        for seen in (mask, None):
            given = ops.convert_to_tensor(x)
            told = None if seen is None else ops.convert_to_tensor(seen)
            y = ops.convert_to_numpy(local(given, told))
            expected = ops.convert_to_numpy(plain(given, told))
            real = np.ones_like(mask) if seen is None else mask
            np.testing.assert_allclose(
                y[real], expected[real], rtol=0, atol=1e-6, err_msg=f"{length}"
            )
            assert y.shape == expected.shape


@ON_TENSORFLOW
@CAUSAL
def test_one_graph_runs_at_every_length(causal, events):
    import tensorflow as tf

    local, _ = the_two(3, causal)
    signature = [
        tf.TensorSpec((None, None, 16)),
        tf.TensorSpec((None, None), tf.bool),
    ]
    graph = tf.function(local, input_signature=signature)
    for length in LENGTHS:
        x, mask = map(tf.constant, events(batch=3, time=length, width=16))
        np.testing.assert_allclose(graph(x, mask), local(x, mask), rtol=0, atol=1e-6)


class Windowed(Roberta):
    """What Longformer is, over the square of all positions."""

    def make_visible(self, length, mask):
        visible = super().make_visible(length, mask)
        return within_window(visible, length, 3)


@pytest.fixture
def bodies(small_config):
    def make(causal, **options):
        options = {"attention_window": 4, "initializer_range": 0.2, **options}
        local = make_body(small_config("longformer", **options), causal=causal)
        del options["attention_window"]
        plain = Windowed(small_config("roberta", **options), causal=causal)
        for body in (local, plain):
            body.build((None, None, 32))
        plain.set_weights(local.get_weights())
        return local, plain

    return make


@pytest.mark.backends("torch")
@CAUSAL
def test_longformer_is_roberta_in_a_window(bodies, causal, events, apply, gradients):
    local, plain = bodies(causal)
    x, mask = events(batch=4, time=29)
    mask[2] = False
    y, expected = apply(local, x, mask), apply(plain, x, mask)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    w = np.random.default_rng(1).normal(size=x.shape).astype("float32") / mask.sum()
    by_x, by_variables = gradients(local, x, mask, w)
    wanted_by_x, wanted = gradients(plain, x, mask, w)
    np.testing.assert_allclose(by_x, wanted_by_x, rtol=0, atol=1e-4)
    for (variable, gradient), (_, other) in zip(by_variables, wanted, strict=True):
        np.testing.assert_allclose(
            gradient, other, rtol=0, atol=1e-4, err_msg=variable.path
        )


@pytest.mark.backends("torch")
@CAUSAL
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_blocks_stay_finite_in_half_precision(
    small_config, causal, policy, events, gradients
):
    config = small_config("longformer", attention_window=4, initializer_range=0.05)
    body = make_body(config, causal=causal, dtype=policy)
    body.build((None, None, body.d_input))
    x, mask = events(batch=4, time=29)
    mask[1], mask[2, 5:20] = False, False
    x[0] *= 100
    by_x, by_variables = gradients(body, x, mask, np.ones_like(x) / 100)
    assert np.isfinite(by_x).all()
    assert all(np.isfinite(g).all() for _, g in by_variables)


@ON_TENSORFLOW
@CAUSAL
def test_cost_grows_with_the_length_and_not_with_its_square(bodies, causal):
    local, plain = bodies(causal, max_position_embeddings=1100, num_hidden_layers=1)
    # The largest tensor, and all of them.
    growth = tensor_sizes(local, 1024) / tensor_sizes(local, 256)
    assert ((growth > 3.5) & (growth < 4.5)).all()
    # The measure sees a square where there is one.
    growth = tensor_sizes(plain, 1024) / tensor_sizes(plain, 256)
    assert (growth > 8).all()
    assert (tensor_sizes(local, 1024) * 4 < tensor_sizes(plain, 1024)).all()


def tensor_sizes(body, length):
    """Size of the largest tensor of a training step, and the sum of all."""
    import tensorflow as tf

    @tf.function
    def run(x, mask):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(body(x, mask=mask, training=True))
        return tape.gradient(loss, [x, *[v.value for v in body.trainable_variables]])

    graph = run.get_concrete_function(
        tf.TensorSpec((2, length, 32)), tf.TensorSpec((2, length), tf.bool)
    ).graph
    shapes = [y.shape for op in graph.get_operations() for y in op.outputs]
    sizes = [np.prod(shape) for shape in shapes if shape.is_fully_defined()]
    return np.array([max(sizes), sum(sizes)])


@pytest.mark.parametrize("window", [3, 0, [4], [4, 2, 4], [4, 5]])
def test_a_window_that_has_no_middle_is_refused(small_config, window):
    config = small_config("longformer", attention_window=window)
    with pytest.raises(ValueError, match="for each of the 2 blocks"):
        make_body(config)
