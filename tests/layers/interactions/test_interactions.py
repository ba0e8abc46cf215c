"""Products of features: values beside NumPy, and layers that come back."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.layers.attach_mask import AttachMask

pytestmark = pytest.mark.backends

N, DIM = 4, 3
X = np.random.default_rng(0).normal(size=(5, N, DIM)).astype("float32")


def values(y):
    return ops.convert_to_numpy(y)


def kernel_of(layer):
    return values(layer.kernel)


@pytest.mark.parametrize("own", [False, True])
def test_every_two_features_have_a_dot_product(own):
    pairs = [(i, j) for i in range(N) for j in range(i + (not own), N)]
    expected = np.stack([(X[:, i] * X[:, j]).sum(-1) for i, j in pairs], axis=-1)
    layer = t4r.DotInteraction(self_interaction=own)
    np.testing.assert_allclose(values(layer(X)), expected, rtol=1e-5, atol=1e-6)
    assert layer.compute_output_shape((None, N, DIM)) == (None, len(pairs))


@pytest.mark.parametrize("kind", ["all", "each", "pair"])
def test_bilinear_products_are_those_of_fibinet(kind):
    layer = t4r.DotInteraction(bilinear=kind)
    y, kernel = values(layer(X)), kernel_of(layer)
    for place, (i, j) in enumerate(itertools.combinations(range(N), 2)):
        w = kernel if kind == "all" else kernel[i if kind == "each" else place]
        expected = ((X[:, i] @ w) * X[:, j]).sum(-1)
        np.testing.assert_allclose(y[:, place], expected, rtol=1e-4, atol=1e-5)


def test_crosses_are_those_of_dcn_v2():
    layer = t4r.CrossNetwork(3)
    x = X[:, 0]
    y = x
    layer.build(x.shape)
    for cross in layer.crosses:
        cross.bias.assign(np.arange(DIM, dtype="float32"))
        y = x * (y @ values(cross.kernel) + values(cross.bias)) + y
    np.testing.assert_allclose(values(layer(x)), y, rtol=1e-4, atol=1e-5)


def test_crosses_of_a_rank_have_two_thin_matrices():
    layer = t4r.CrossNetwork(1, rank=2)
    x = X[:, 0]
    layer(x)
    assert [tuple(w.shape) for w in layer.trainable_weights] == [(3, 2), (2, 3), (3,)]
    inner = x @ values(layer.down[0].kernel) @ values(layer.crosses[0].kernel)
    np.testing.assert_allclose(values(layer(x)), x * inner + x, rtol=1e-4, atol=1e-5)


def test_compressed_products_are_those_of_xdeepfm():
    z = np.random.default_rng(1).normal(size=(5, 2, DIM)).astype("float32")
    layer = t4r.CompressedInteraction(6)
    y = values(layer(X, z))
    kernel = kernel_of(layer).reshape(6, N, 2)
    expected = np.einsum("bid,bjd,kij->bkd", X, z, kernel)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


LAYERS = {
    "dots": lambda **k: t4r.DotInteraction(True, "each", "he_normal", **k),
    "pairs": lambda **k: t4r.DotInteraction(bilinear="pair", **k),
    "crosses": lambda **k: t4r.CrossNetwork(2, 2, "he_normal", "l2", **k),
    "compressed": lambda **k: t4r.CompressedInteraction(5, "he_normal", **k),
}


def called(layer, x):
    if isinstance(layer, t4r.CompressedInteraction):
        return layer(x, x)
    return layer(x)


@pytest.mark.parametrize("kind", LAYERS)
def test_an_event_is_computed_from_itself_and_keeps_its_mask(kind):
    x = np.random.default_rng(2).normal(size=(2, 3, N, DIM)).astype("float32")
    mask = np.array([[True, True, False], [True, False, False]])
    layer = LAYERS[kind]()
    given = AttachMask()((ops.convert_to_tensor(x), ops.convert_to_tensor(mask)))
    y = called(layer, given)
    np.testing.assert_array_equal(values(y._keras_mask), mask)
    for event in range(3):
        alone = values(called(layer, x[:, event]))
        np.testing.assert_allclose(values(y)[:, event], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_they_train_and_come_back(kind, tmp_path):
    inputs = keras.Input((N, DIM))
    y = keras.layers.Flatten()(called(LAYERS[kind](), inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(y))
    model.compile(keras.optimizers.Adam(0.02), "mse")
    target = (X[:, 0] * X[:, 1]).sum(-1, keepdims=True)
    losses = model.fit(X, target, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_allclose(other.predict(X, verbose=0), expected, atol=1e-6)
        (layer,) = (x for x in other.layers if x.name == model.layers[1].name)
        assert layer.get_config() == model.layers[1].get_config()


@pytest.mark.parametrize("kind", LAYERS)
def test_mixed_precision(kind):
    layer = LAYERS[kind](dtype="mixed_float16")
    y = called(layer, X)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert {w.dtype for w in layer.weights} == {"float32"}
    assert np.isfinite(values(y)).all()


def test_bad_input_gets_one_sentence():
    with pytest.raises(ValueError, match="bilinear is 'some'; it should be one of"):
        t4r.DotInteraction(bilinear="some")
    with pytest.raises(ValueError, match="n features of a known width"):
        t4r.DotInteraction()(X[:, 0])
    with pytest.raises(ValueError, match="one feature, which makes no pair"):
        t4r.DotInteraction()(X[:, :1])
    with pytest.raises(ValueError, match="num_layers is 0"):
        t4r.CrossNetwork(0)
    with pytest.raises(TypeError, match=r"rank is 1\.5"):
        t4r.CrossNetwork(1, rank=1.5)
    with pytest.raises(TypeError, match="units is 'a'"):
        t4r.CompressedInteraction("a")
    with pytest.raises(ValueError, match="two tensors of features"):
        t4r.CompressedInteraction(2)(X, X[..., :2])


@pytest.mark.parametrize("bilinear", ["all", "each", "pair"])
def test_each_kernel_starts_as_that_of_a_dense_layer(bilinear):
    layer = t4r.DotInteraction(bilinear=bilinear)
    layer.build((None, 10, 32))
    kernels = ops.convert_to_numpy(layer.kernel).reshape(-1, 32, 32)
    np.testing.assert_allclose(kernels.std((1, 2)), np.sqrt(1 / 32), rtol=0.2)
    # And each as itself.
    assert len(np.unique(kernels[:, 0, 0])) == len(kernels)
