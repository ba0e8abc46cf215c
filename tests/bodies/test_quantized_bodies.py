"""`model.quantize` reaches the products of every body, and comes back from a file."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_t4r.bodies import load_hf_weights, make_body

pytestmark = [
    pytest.mark.backends,
    pytest.mark.usefixtures("quick_collections"),
    # Keras says so of each layer that has nothing to quantise.
    pytest.mark.filterwarnings("ignore:Layer .* does not have a:UserWarning"),
]


@pytest.fixture
def quantized(small_config, events):
    """`quantized(kind, mode)`: inputs, and a model before and after."""

    def make(kind, mode):
        body = make_body(small_config(kind), name="body")
        x, mask = events(batch=3, time=6, width=body.d_input)
        given = [ops.convert_to_tensor(x), ops.convert_to_tensor(mask)]
        inputs = [keras.Input((None, body.d_input)), keras.Input((None,), dtype="bool")]
        model = keras.Model(inputs, body(inputs[0], mask=inputs[1]))
        exact = ops.convert_to_numpy(model(given))
        model.quantize(mode)
        return given, exact, model

    return make


def quantized_parts(model):
    parts = model.get_layer("body")._flatten_layers()
    return [x for x in parts if x.quantization_mode is not None]


def test_a_quantised_body_comes_back_from_its_file(kind, quantized, tmp_path):
    if keras.backend.backend() == "jax" and kind != "gpt2":
        pytest.skip("TensorFlow and PyTorch show it; JAX compiles each anew")
    given, exact, model = quantized(kind, "int8")
    y = ops.convert_to_numpy(model(given))
    # GRU's products are its cell's, which Keras does not quantise.
    assert bool(quantized_parts(model)) == (kind != "gru")
    assert np.abs(y - exact).mean() < 0.1 * np.abs(exact).mean()

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(again(given)), y)
    if kind != "gpt2":
        return
    # Nor does anything get lost on a second way.
    again.save(tmp_path / "again.keras")
    third = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(third(given)), y)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("mode", ["int4", "float8"])
def test_so_does_one_of_another_mode(mode, quantized, tmp_path):
    given, _, model = quantized("bert", mode)
    y = ops.convert_to_numpy(model(given))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(again(given)), y)


@pytest.mark.backends("torch")
def test_its_weights_fit_a_model_of_its_config(quantized, tmp_path):
    given, _, model = quantized("llama", "int8")
    model.save_weights(tmp_path / "model.weights.h5")
    again = keras.Model.from_config(model.get_config())
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again(given)), ops.convert_to_numpy(model(given))
    )


def test_a_checkpoint_is_not_loaded_into_a_quantised_body(quantized):
    _, _, model = quantized("bert", "int8")
    with pytest.raises(ValueError, match="load them before"):
        load_hf_weights(model.get_layer("body"), {})
