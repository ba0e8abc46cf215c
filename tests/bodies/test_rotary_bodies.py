"""The Llama family and ModernBERT: rotary positions, windows, RMS norms."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_t4r.bodies import load_hf_weights, make_body
from keras_t4r.bodies.parts.attention.rope import rotary_table
from keras_t4r.bodies.parts.rms_norm import RMSNorm

FAMILY = ["llama", "mistral", "qwen2", "qwen3"]
ROTARY = [*FAMILY, "modernbert"]


def seen_by_each(body, apply, time=12):
    """bool `(time, time)`: which event changes the output at which position."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1, time, 32)).astype("float32")
    before = apply(body, x)[0]
    rows = np.repeat(x, time, axis=0)
    rows[np.arange(time), np.arange(time)] += random.normal(size=(time, 32))
    return (np.abs(apply(body, rows) - before).max(axis=-1) > 1e-5).T


@pytest.mark.backends("torch")
@pytest.mark.parametrize("name", ROTARY)
@pytest.mark.parametrize("past", [True, False])
def test_places_count_only_by_how_far_apart_they_are(
    name, past, small_config, events, apply
):
    body = make_body(small_config(name), causal=past)
    x, mask = events(batch=3, time=8)
    later = np.pad(x, ((0, 0), (5, 0), (0, 0)))
    y = apply(body, later, np.pad(mask, ((0, 0), (5, 0))))
    np.testing.assert_allclose(y[:, 5:], apply(body, x, mask), rtol=0, atol=1e-5)
    # But they do count: the same events in another order mean something else.
    swapped = x.copy()
    swapped[:, [0, 1]] = x[:, [1, 0]]
    everything = np.ones_like(mask)
    change = apply(body, swapped, everything) - apply(body, x, everything)
    assert np.abs(change[:, -1]).max() > 1e-3


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    ("name", "options", "past", "back", "ahead"),
    [
        ("mistral", {"sliding_window": 3}, True, 2, 0),
        ("mistral", {"sliding_window": 3}, False, 3, 3),
        ("modernbert", {"local_attention": 6}, True, 3, 0),
        ("modernbert", {"local_attention": 7}, False, 3, 3),
    ],
)
def test_a_window_ends_where_it_should(
    name, options, past, back, ahead, small_config, apply
):
    if name == "modernbert":
        options = {**options, "layer_types": ["sliding_attention"]}
    body = make_body(small_config(name, num_hidden_layers=1, **options), causal=past)
    apart = np.arange(12)[:, None] - np.arange(12)
    expected = (apart <= back) & (apart >= -ahead)
    np.testing.assert_array_equal(seen_by_each(body, apply), expected)


@pytest.mark.backends
def test_blocks_see_as_their_types_say(small_config, apply):
    windows = {"use_sliding_window": True, "sliding_window": 2}
    near, far = "sliding_attention", "full_attention"
    for types, back in (([near, near], 2), ([near, far], 12), ([far, near], 12)):
        body = make_body(small_config("qwen2", layer_types=types, **windows))
        apart = np.arange(12)[:, None] - np.arange(12)
        expected = (apart <= back) & (apart >= 0)
        np.testing.assert_array_equal(seen_by_each(body, apply), expected)


def test_the_family_is_causal_unless_its_config_says_otherwise(small_config):
    for kind in FAMILY:
        config = small_config(kind)
        assert make_body(config).causal
        config.is_causal = False
        assert not make_body(config).causal
    assert not make_body(small_config("modernbert")).causal


@pytest.mark.backends
def test_rms_norm_is_what_it_says_and_keeps_the_mask():
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 4, 8)).astype("float32") * 300
    x[0, 0] = 0
    norm = RMSNorm(epsilon=1e-3)
    norm.build(x.shape)
    norm.gamma.assign(random.normal(size=8))
    gamma = ops.convert_to_numpy(norm.gamma)
    expected = gamma * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-3)
    y = ops.convert_to_numpy(norm(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(y, expected, atol=1e-5)

    half = RMSNorm(epsilon=1e-3, dtype="mixed_float16")
    half.build(x.shape)
    half.gamma.assign(gamma)
    y = ops.convert_to_numpy(ops.cast(half(ops.convert_to_tensor(x)), "float32"))
    np.testing.assert_allclose(y, expected, atol=1e-2)

    masked = keras.layers.Masking()(keras.Input((4, 8)))
    assert keras.src.backend.get_keras_mask(RMSNorm()(masked)) is not None
    assert RMSNorm.from_config(norm.get_config()).epsilon == 1e-3


@pytest.mark.parametrize("architecture", ROTARY)
def test_a_checkpoint_with_a_head_loads(architecture, small_config):
    pytest.importorskip("torch", reason="PyTorch, the reference, is missing")
    import transformers

    config = small_config(architecture, vocab_size=7, pad_token_id=0)
    auto = getattr(
        transformers,
        "AutoModelForMaskedLM"
        if architecture == "modernbert"
        else "AutoModelForCausalLM",
    )
    weights = {k: v.numpy() for k, v in auto.from_config(config).state_dict().items()}
    body = make_body(config)
    body.build((None, None, 32))
    load_hf_weights(body, weights)
    name = "layers.1.mlp." + ("Wo" if architecture == "modernbert" else "down_proj")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(body.blocks[1].feed_forward.outer.kernel),
        weights[f"model.{name}.weight"].T,
    )


def test_modernbert_drops_of_the_outcome_of_attention_as_well(small_config, events):
    body = make_body(small_config("modernbert", attention_dropout=0.5))
    x, _ = events(time=20)
    body.build(x.shape)
    cos, sin = rotary_table(20, body.frequencies["full_attention"])
    attention = body.blocks[0].attention
    y = attention(ops.convert_to_tensor(x), cos=cos, sin=sin, training=True)
    assert 0.4 < (ops.convert_to_numpy(y) == 0).mean() < 0.6
