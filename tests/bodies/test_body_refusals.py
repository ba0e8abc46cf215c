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
    with pytest.raises(ValueError, match=r"vectors of width 32 .* has width 24"):
        make_body(small_config(kind))(np.zeros((2, 3, 24), "float32"))


def test_more_events_than_positions_are_refused(limited_kind, small_config):
    body = make_body(small_config(limited_kind))
    with pytest.raises(ValueError, match="has 32 positions, but the input has 33"):
        body(np.zeros((2, 33, 32), "float32"))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="only TensorFlow runs one graph for every length",
)
def test_more_events_than_positions_are_refused_inside_a_graph(
    limited_kind, small_config
):
    import tensorflow as tf

    body = make_body(small_config(limited_kind))
    graph = tf.function(body, input_signature=[tf.TensorSpec((None, None, 32))])
    assert graph(tf.zeros((2, 32, 32))).shape == (2, 32, 32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has 32 positions"):
        graph(tf.zeros((2, 33, 32)))


def test_a_body_without_positions_takes_any_length(kind, kinds, small_config):
    if not kinds[kind].limited:
        body = make_body(small_config(kind))
        assert body(np.zeros((1, 150, 32), "float32")).shape == (1, 150, 32)
