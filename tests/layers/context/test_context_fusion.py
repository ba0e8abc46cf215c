"""ContextFusion: events joined with what is known of their session, or of them."""

import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops

import keras_t4r as t4r
from keras_t4r.layers.attach_mask import AttachMask

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 6)).astype("float32")
MASK = np.arange(4) < np.array([[4], [2], [0]])
SESSION = RNG.normal(size=(3, 5)).astype("float32")
EVENTS = RNG.normal(size=(3, 4, 5)).astype("float32")
MODES = ("latent-cross", "sum", "concat")


def values(y):
    return ops.convert_to_numpy(y)


def masked(x, mask=MASK):
    return AttachMask()((ops.convert_to_tensor(x), ops.convert_to_tensor(mask)))


def expected(layer, x, context):
    if context.ndim < x.ndim:
        context = np.repeat(context[:, None], x.shape[1], axis=1)
    if layer.mode == "concat":
        return np.concatenate([x, context], axis=-1)
    w = context @ values(layer.weights[0])
    return x * (1 + w) if layer.mode == "latent-cross" else x + w


@pytest.mark.parametrize("context", [SESSION, EVENTS], ids=["session", "events"])
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_is_its_equation_and_zero_at_padding(mode, context):
    layer = t4r.ContextFusion(mode)
    y = layer(masked(X), context)
    np.testing.assert_array_equal(values(y._keras_mask), MASK)
    wanted = expected(layer, X, context) * MASK[:, :, None]
    np.testing.assert_allclose(values(y), wanted, rtol=1e-5, atol=1e-6)
    shape = layer.compute_output_shape((None, None, 6), (None, *context.shape[1:]))
    assert shape == (None, None, wanted.shape[-1])


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_a_session_is_fused_too(mode):
    layer = t4r.ContextFusion(mode)
    y = values(layer(X[:, 0], SESSION))
    np.testing.assert_allclose(y, expected(layer, X[:, 0], SESSION), rtol=1e-5)


@pytest.mark.parametrize("mode", ["latent-cross", "sum"])
def test_a_context_of_zeros_changes_nothing(mode):
    y = t4r.ContextFusion(mode)(X, np.zeros_like(SESSION))
    np.testing.assert_array_equal(values(y), X)


def test_latent_cross_starts_near_the_identity():
    y = values(t4r.ContextFusion()(X, SESSION))
    assert 0 < np.abs(y / X - 1).mean() < 0.3


@pytest.mark.parametrize("mode", MODES)
def test_what_stands_at_padding_reaches_nothing(mode):
    """Neither the outputs nor the gradients: it may be no number at all."""
    context = EVENTS.copy()
    context[~MASK] = np.nan
    y = values(t4r.ContextFusion(mode)(masked(X), context))
    assert np.isfinite(y).all() and not y[~MASK].any()


@pytest.mark.parametrize("mode", ["latent-cross", "sum"])
def test_a_context_of_padding_that_is_no_number_has_no_gradient(mode):
    context = np.where(MASK[:, :, None], EVENTS, np.nan).astype("float32")
    layer = t4r.ContextFusion(mode)
    layer.build(X.shape, context.shape)
    kernel = values(layer.weights[0])

    def loss(x, kernel):
        y, _ = layer.stateless_call([kernel], [], x, context, x_mask=MASK)
        return ops.sum(y)

    for gradient in value_and_gradients(loss, (X, kernel))[1:]:
        assert np.isfinite(gradient).all() and gradient.any()


@pytest.mark.parametrize("mode", MODES)
def test_they_train_and_come_back(mode, tmp_path):
    x, c = keras.Input((None, 6)), keras.Input((5,))
    y = t4r.ContextFusion(mode)(keras.layers.Masking()(x), c)
    model = keras.Model([x, c], keras.layers.Dense(1)(y))
    model.compile(keras.optimizers.Adam(0.02), "mse")
    target = np.ones((3, 4, 1), "float32")
    losses = model.fit([X, SESSION], target, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    answer = model.predict([X, SESSION], verbose=0)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_allclose(
            other.predict([X, SESSION], verbose=0), answer, atol=1e-6
        )
    layer = t4r.ContextFusion("sum", "he_normal")
    assert t4r.ContextFusion.from_config(layer.get_config()).get_config() == (
        layer.get_config()
    )


@pytest.mark.parametrize("mode", MODES)
def test_mixed_precision(mode):
    layer = t4r.ContextFusion(mode, dtype="mixed_float16")
    y = layer(masked(X), SESSION)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert {w.dtype for w in layer.weights} <= {"float32"}


def test_bad_input_gets_one_sentence():
    with pytest.raises(ValueError, match="mode is 'product'; it should be one of"):
        t4r.ContextFusion("product")
    with pytest.raises(ValueError, match="learns nothing"):
        t4r.ContextFusion("concat", "he_normal")
    with pytest.raises(ValueError, match="takes events"):
        t4r.ContextFusion()(X, EVENTS[:, :3])
    with pytest.raises(ValueError, match="takes events"):
        t4r.ContextFusion()(X[:, 0], EVENTS)
    with pytest.raises(ValueError, match="takes events"):
        t4r.ContextFusion()(X, SESSION[:, 0])
