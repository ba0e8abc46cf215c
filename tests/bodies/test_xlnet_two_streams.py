"""XLNet's two streams, for permutation language modeling."""

import numpy as np
import pytest
from keras import ops

from keras_t4r.bodies import load_hf_weights, make_body
from keras_t4r.bodies.huggingface.weights import match_weights

BATCH, TIME, WIDTH = 4, 9, 32


def a_session(seed=0, sees_something=True):
    """Events, their mask, targets, and what is visible in a random order."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(BATCH, TIME, WIDTH)).astype("float32")
    mask = random.random((BATCH, TIME)) > 0.25
    target = mask & (random.random((BATCH, TIME)) > 0.5)
    if sees_something:
        mask[:, 0], target[:, 0] = True, False
    order = np.where(target, random.random((BATCH, TIME)), -1.0)
    visible = ~target[:, None, :] | (order[:, None, :] < order[:, :, None])
    return x, mask, target, visible & mask[:, None, :]


@pytest.fixture
def body(small_config):
    body = make_body(small_config("xlnet"))
    body.build((None, None, WIDTH), (None, None, None))
    return body


def answer(body, x, mask, visible, training=False):
    y = body(
        ops.convert_to_tensor(x),
        mask=ops.convert_to_tensor(mask),
        visible=ops.convert_to_tensor(visible),
        training=training,
    )
    return ops.convert_to_numpy(ops.cast(y, "float32"))


@pytest.fixture
def reference(body):
    """Hugging Face's model with the same weights, and how to call it."""
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is missing")
    from transformers import XLNetModel

    config = type(body.config)(**body.config.to_dict())
    config.use_cache = False
    torch.manual_seed(5)
    model = XLNetModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    load_hf_weights(body, {k: v.numpy() for k, v in model.state_dict().items()})

    def run(x, mask, visible):
        return model(
            inputs_embeds=x,
            attention_mask=torch.tensor(mask).float(),
            perm_mask=torch.tensor(~visible).float(),
            target_mapping=torch.eye(TIME).expand(len(x), TIME, TIME),
        )[0]

    return model, run


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hidden_states_are_those_of_hugging_face(body, reference, seed):
    import torch

    _, run = reference
    x, mask, _, visible = a_session(seed)
    with torch.no_grad():
        expected = run(torch.tensor(x), mask, visible).numpy()
    y = answer(body, x, mask, visible)
    np.testing.assert_allclose(y[mask], expected[mask], rtol=0, atol=1e-5)
    assert expected[mask].std(axis=0).mean() > 0.3


def test_gradients_are_those_of_hugging_face(body, reference):
    import tensorflow as tf
    import torch

    model, run = reference
    x, mask, _, visible = a_session()
    w = np.random.default_rng(1).normal(size=x.shape).astype("float32")
    w *= mask[..., None] / mask.sum()
    leaf = torch.tensor(x, requires_grad=True)
    (run(leaf, mask, visible) * torch.tensor(w)).sum().backward()
    expected = {
        name: (p.grad if p.grad is not None else torch.zeros_like(p)).numpy()
        for name, p in model.named_parameters()
    }
    events = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(events)
        y = body(events, mask=tf.constant(mask), visible=tf.constant(visible))
        loss = tf.reduce_sum(y * w)
    values = [v.value for v in body.trainable_variables]
    by_x, *by_variables = tape.gradient(loss, [events, *values])
    np.testing.assert_allclose(by_x, leaf.grad.numpy(), rtol=0, atol=1e-4)
    wanted = {id(v): g for v, g in match_weights(body, expected)}
    assert len(wanted) == len(by_variables)
    for variable, gradient in zip(body.trainable_variables, by_variables, strict=True):
        np.testing.assert_allclose(
            gradient, wanted[id(variable)], rtol=0, atol=1e-4, err_msg=variable.path
        )
        assert np.abs(gradient).max() > 1e-4, variable.path


@pytest.mark.backends
def test_a_position_depends_on_exactly_what_it_sees(body):
    # One block, for with two a position sees through others.
    x, mask, _, visible = a_session(sees_something=False)
    one = make_body(type(body.config)(**{**body.config.to_dict(), "n_layer": 1}))
    one.build((None, None, WIDTH), (None, None, None))
    before = answer(one, x, mask, visible)
    for j in range(TIME):
        changed = x.copy()
        changed[:, j] = np.random.default_rng(j).normal(size=(BATCH, WIDTH))
        change = np.abs(answer(one, changed, mask, visible) - before).max(axis=-1)
        sees = visible[:, :, j] & mask
        assert (change[sees] > 1e-5).all()
        assert not change[~sees].any()


@pytest.mark.backends
def test_no_target_knows_itself_or_a_later_one(body):
    x, mask, target, visible = a_session(seed=3)
    before = answer(body, x, mask, visible)
    for j in range(TIME):
        changed = x.copy()
        changed[:, j] += 1.0
        change = np.abs(answer(body, changed, mask, visible) - before).max(axis=-1)
        blind = target & ~visible[:, :, j] & target[:, [j]]
        assert not change[blind].any()
    assert target.sum() > 5


@pytest.mark.backends
def test_who_sees_nothing_knows_nothing(body):
    x, mask, _, _ = a_session()
    nothing = np.zeros((BATCH, TIME, TIME), bool)
    first = answer(body, x, mask, nothing)
    second = answer(body, x + 1.0, mask, nothing)
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()


def test_it_comes_back_with_its_query(body, tmp_path):
    import keras

    inputs = keras.Input((None, WIDTH)), keras.Input((None, None), dtype="bool")
    model = keras.Model(inputs, body(inputs[0], visible=inputs[1]))
    x, _, _, visible = a_session()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again([x, visible])),
        ops.convert_to_numpy(model([x, visible])),
    )


def test_one_stream_and_two_are_told_apart(body, small_config):
    x, _, _, visible = a_session()
    with pytest.raises(ValueError, match="built for one stream and called with"):
        body(x)
    single = make_body(small_config("xlnet"))
    single(x)
    with pytest.raises(ValueError, match="built for one stream and called with"):
        single(x, visible=visible)
    with pytest.raises(ValueError, match="cannot be causal as well"):
        make_body(small_config("xlnet"), causal=True)(x, visible=visible)


@pytest.mark.backends
def test_the_mask_that_the_events_carry_is_heeded(body):
    import keras

    x, mask, _, visible = a_session()
    carrying = keras.layers.Masking(0.0)(np.where(mask[..., None], x, 0.0))
    everywhere = ops.convert_to_tensor(np.ones_like(visible))
    carried = body(carrying, visible=everywhere)
    given = answer(body, x, mask, np.ones_like(visible))
    np.testing.assert_allclose(ops.convert_to_numpy(carried), given, atol=1e-6)
    assert mask.sum() < mask.size
