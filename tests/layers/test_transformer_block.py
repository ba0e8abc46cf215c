"""TransformerBlock: from a config or a layer to a part of a Keras model."""

import keras
import numpy as np
import pytest
from keras import ops
from transformers import BertConfig, GPT2Config, XLNetConfig

from keras_t4r.layers.transformer_block import TransformerBlock

pytestmark = pytest.mark.backends

CONFIGS = {
    "xlnet": lambda: XLNetConfig(d_model=16, n_head=2, n_layer=1, d_inner=24),
    "gpt2": lambda: GPT2Config(n_embd=16, n_head=2, n_layer=1, n_positions=12),
    "bert": lambda: BertConfig(
        hidden_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        intermediate_size=24,
        max_position_embeddings=12,
    ),
}


@pytest.fixture(params=CONFIGS)
def block(request):
    return TransformerBlock(CONFIGS[request.param]())


def model_over(block):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(10, 16, mask_zero=True)(ids)
    x = block(x)
    return keras.Model(ids, keras.layers.Dense(10)(x))


IDS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [5, 0, 0, 0, 0], [0, 0, 0, 0, 0]])


@pytest.mark.backends("torch")
def test_it_trains_and_comes_back_from_a_keras_file(block, tmp_path):
    model = model_over(block)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    losses = model.fit(IDS, IDS, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again(IDS)), ops.convert_to_numpy(model(IDS))
    )


def test_the_mask_of_the_input_is_used_and_carried_on(block):
    x = keras.layers.Embedding(10, 16, mask_zero=True)
    y = block(x(IDS))
    explicit = block(x.call(IDS), mask=ops.convert_to_tensor(IDS != 0))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(y), ops.convert_to_numpy(explicit)
    )
    for result in (y, explicit):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(result._keras_mask), IDS != 0
        )


def test_the_mask_is_there_when_the_graph_is_made(block):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(10, 16, mask_zero=True)(ids)
    bare = keras.Input((None, 16))
    mask = keras.Input((None,), dtype="bool")
    for layer in (block, block.body):
        assert layer(x)._keras_mask is x._keras_mask
        assert layer(bare, mask=mask)._keras_mask is mask
        assert getattr(layer(bare), "_keras_mask", None) is None


def test_its_config_is_plain_data_and_keeps_the_direction(block):
    import json

    for causal in (True, False):
        block = TransformerBlock(block.body.config, causal=causal)
        config = json.loads(json.dumps(block.get_config()))
        again = TransformerBlock.from_config(config)
        assert again.causal is causal
        assert again.body.config.to_dict() == block.body.config.to_dict()


@pytest.mark.backends("torch")
def test_changing_the_config_later_changes_no_block():
    config = CONFIGS["bert"]()
    block = TransformerBlock(config)
    config.hidden_size = 32
    assert block(np.zeros((1, 2, 16), "float32")).shape == (1, 2, 16)


@pytest.mark.backends("torch")
def test_the_dtype_policy_reaches_the_body():
    block = TransformerBlock(CONFIGS["xlnet"](), dtype="mixed_bfloat16")
    y = block(np.zeros((1, 2, 16), "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {w.dtype for w in block.trainable_weights} == {"float32"}


def test_a_layer_of_the_users_serves_as_body(tmp_path):
    block = TransformerBlock(
        keras.layers.GRU(12, return_sequences=True), causal=True, name="gru"
    )
    model = model_over(block)
    assert block.causal is True
    assert block.compute_output_shape((None, None, 16)) == (None, None, 12)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(IDS)), ops.convert_to_numpy(model(IDS)), atol=1e-6
    )
    assert again.get_layer("gru").causal is True


def test_the_mask_reaches_a_layer_of_the_users():
    gru = keras.layers.GRU(12, return_sequences=True)
    x = np.random.default_rng(0).normal(size=(4, 5, 16)).astype("float32")
    mask = ops.convert_to_tensor(IDS != 0)
    y = ops.convert_to_numpy(TransformerBlock(gru)(x, mask=mask))
    expected = ops.convert_to_numpy(gru(x, mask=mask))
    np.testing.assert_array_equal(y[IDS != 0], expected[IDS != 0])
    # As of every body, what stands at padding is nothing.
    assert not y[IDS == 0].any()
    # A layer that knows no mask gets none.
    dense = keras.layers.Dense(3)
    assert TransformerBlock(dense)(x, mask=mask).shape == (4, 5, 3)
    assert TransformerBlock(dense).causal is None


def test_a_direction_that_contradicts_the_layer_is_refused():
    from keras_t4r.bodies import GPT2

    body = GPT2(CONFIGS["gpt2"]())
    assert TransformerBlock(body).causal is True
    with pytest.raises(ValueError, match="causal=True, so it cannot be used with"):
        TransformerBlock(body, causal=False)


def test_what_is_neither_config_nor_layer_is_refused():
    with pytest.raises(ValueError, match="No body for str"):
        TransformerBlock("xlnet")


def test_importing_the_package_loads_neither_transformers_nor_torch():
    import subprocess
    import sys

    code = (
        "import sys, keras_t4r.layers.transformer_block, keras_t4r.bodies;"
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
