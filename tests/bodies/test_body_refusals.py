"""What a body cannot do, it says in one sentence."""

import keras
import numpy as np
import pytest

from keras_t4r.bodies import make_body


def test_an_option_that_the_body_lacks_is_refused(small_config, refused):
    kind, option, value = refused
    config = small_config(kind)
    # Some stand in the config.json of old checkpoints only.
    setattr(config, option, value)
    with pytest.raises(ValueError, match=f"{option}=.* is not supported: "):
        make_body(config)


def test_an_unknown_activation_is_refused(small_config):
    with pytest.raises(ValueError, match="Unknown activation 'maxout': use one of"):
        make_body(small_config("bert", hidden_act="maxout"))


def test_heads_must_divide_the_width(small_config):
    with pytest.raises(ValueError, match="width 32 is no multiple of the 5"):
        make_body(small_config("gpt2", n_head=5))


def test_an_unknown_architecture_is_refused():
    from transformers import T5Config

    with pytest.raises(ValueError, match=r"No body for T5Config \(model_type 't5'\)"):
        make_body(T5Config())
    with pytest.raises(ValueError, match="No body for int"):
        make_body(3)


def test_an_input_of_another_width_is_refused(kind, small_config):
    body = make_body(small_config(kind))
    width = body.d_input
    with pytest.raises(ValueError, match=rf"width {width} .* has width {width + 1}"):
        body(np.zeros((2, 3, width + 1), "float32"))


def test_more_events_than_positions_are_refused(limited_kind, small_config):
    body = make_body(small_config(limited_kind))
    with pytest.raises(ValueError, match="has 32 positions, but the input has 33"):
        body(np.zeros((2, 33, body.d_input), "float32"))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="only TensorFlow runs one graph for every length",
)
def test_more_events_than_positions_are_refused_inside_a_graph(
    limited_kind, small_config
):
    import tensorflow as tf

    # A graph takes long to make, and the check is one for all: see the test before.
    if limited_kind not in ("gpt2", "longformer", "hstu"):
        pytest.skip("three of nine show it")
    body = make_body(small_config(limited_kind))
    width = body.d_input
    graph = tf.function(body, input_signature=[tf.TensorSpec((None, None, width))])
    assert graph(tf.zeros((2, 32, width))).shape == (2, 32, body.d_model)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has 32 positions"):
        graph(tf.zeros((2, 33, width)))


def test_a_body_without_positions_takes_any_length(kind, kinds, small_config):
    if not kinds[kind].limited:
        body = make_body(small_config(kind))
        x = np.zeros((1, 150, body.d_input), "float32")
        assert body(x).shape == (1, 150, 32)
