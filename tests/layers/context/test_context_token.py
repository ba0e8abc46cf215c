"""ContextToken and DropContextToken: a position more, and the way back."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.layers.attach_mask import AttachMask

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 6)).astype("float32")
MASK = np.arange(4) < np.array([[4], [2], [0]])
C = RNG.normal(size=(3, 5)).astype("float32")


def values(y):
    return ops.convert_to_numpy(y)


def masked(x, mask=MASK):
    return AttachMask()((ops.convert_to_tensor(x), ops.convert_to_tensor(mask)))


def test_the_context_stands_first_and_goes_again():
    layer = t4r.ContextToken()
    y = layer(masked(X), C)
    kernel, bias = (values(w) for w in layer.weights)
    np.testing.assert_allclose(values(y)[:, 0], C @ kernel + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(values(y)[:, 1:], X)
    wanted = np.concatenate([np.ones((3, 1), bool), MASK], axis=1)
    np.testing.assert_array_equal(values(y._keras_mask), wanted)
    back = t4r.DropContextToken()(y)
    np.testing.assert_array_equal(values(back), X)
    np.testing.assert_array_equal(values(back._keras_mask), MASK)


def test_without_a_mask_there_is_none_after_it():
    y = t4r.ContextToken()(X, C)
    assert getattr(y, "_keras_mask", None) is None
    np.testing.assert_array_equal(values(t4r.DropContextToken()(y)), X)


def test_what_is_visible_grows_by_what_all_see_and_what_sees_itself():
    visible = RNG.random((3, 4, 4)) < 0.5
    _, grown = t4r.ContextToken()(masked(X), C, visible=visible)
    grown = values(grown)
    assert grown.shape == (3, 5, 5) and grown.dtype == bool
    assert grown[:, :, 0].all() and not grown[:, 0, 1:].any()
    np.testing.assert_array_equal(grown[:, 1:, 1:], visible)


def test_times_grow_by_that_of_the_first_event():
    times = np.array([[5, 6, 7, 9], [3, 4, 0, 0], [0, 0, 0, 0]], "float32")
    visible = np.ones((3, 4, 4), bool)
    _, grown = t4r.ContextToken()(masked(X), C, times=times)
    np.testing.assert_array_equal(values(grown)[:, 0], times[:, 0])
    np.testing.assert_array_equal(values(grown)[:, 1:], times)
    both = t4r.ContextToken()(masked(X), C, visible=visible, times=times)
    assert [tuple(y.shape) for y in both] == [(3, 5, 6), (3, 5, 5), (3, 5)]


def model_of(body=None):
    ids, c = keras.Input((None,), dtype="int32"), keras.Input((5,))
    x = keras.layers.Embedding(9, 6, mask_zero=True)(ids)
    x = t4r.ContextToken()(x, c)
    x = t4r.TransformerBlock(
        body or {"model_type": "gpt2", "n_embd": 6, "n_head": 2, "n_layer": 1}
    )(x)
    return keras.Model([ids, c], t4r.DropContextToken()(x))


IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0], [0, 0, 0, 0]], "int32")


def test_the_mask_of_the_graph_reaches_the_body():
    """What stands at padding changes nothing, and more of it does not either."""
    model = model_of()
    y = values(model([IDS, C]))
    wider = values(model([np.pad(IDS, ((0, 0), (0, 2))), C]))
    np.testing.assert_allclose(wider[:, :4], y, atol=1e-6)
    assert not y[1, 2:].any() and not y[2].any() and y[1, :2].any()


def test_every_event_sees_the_context_and_no_later_event():
    model = model_of()
    y = values(model([IDS, C]))
    assert (np.abs(values(model([IDS, C + 1])) - y)[IDS > 0].max(-1) > 1e-4).all()
    later = IDS.copy()
    later[0, 2] = 8
    moved = np.abs(values(model([later, C])) - y)[0].max(-1)
    assert (moved[:2] == 0).all() and (moved[2:] > 1e-4).all()


def test_it_trains_and_comes_back(tmp_path):
    model = model_of()
    model.compile(keras.optimizers.Adam(0.02), "mse")
    target = np.ones((3, 4, 6), "float32")
    losses = model.fit([IDS, C], target, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    answer = model.predict([IDS, C], verbose=0)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_allclose(
            other.predict([IDS, C], verbose=0), answer, atol=1e-6
        )


def test_mixed_precision():
    layer = t4r.ContextToken(dtype="mixed_float16")
    y = layer(masked(X), C)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    y = t4r.DropContextToken(dtype="mixed_float16")(y)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert {w.dtype for w in layer.weights} == {"float32"}


def test_bad_input_gets_one_sentence():
    with pytest.raises(ValueError, match="one context a session"):
        t4r.ContextToken()(X, X)
    with pytest.raises(ValueError, match="one context a session"):
        t4r.ContextToken()(X[:, 0], C)
    with pytest.raises(ValueError, match="as ContextToken gave it"):
        t4r.DropContextToken()(C)
