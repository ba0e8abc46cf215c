"""Transformer-XL computes what Hugging Face's model computed, while there was one.

`data/transfo_xl.npz` holds its weights, inputs, outputs and gradients;
`data/make_transfo_xl.py` made it, and says how.
"""

from pathlib import Path

import numpy as np
import pytest
from same_gradients import assert_same_gradients

from keras_t4r.bodies import TransfoXL, TransfoXLConfig, load_hf_weights

SIZES = {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 12, "n_layer": 2}
VARIANTS = {
    "plain": {},
    "shared": {"untie_r": False, "clamp_len": 3},
    "pre": {"pre_lnorm": True, "d_head": 6, "clamp_len": 4},
}


@pytest.fixture(params=VARIANTS)
def golden(request):
    """The body with the file's weights, these weights, and the rest of the file."""
    path = Path(__file__).with_name("data") / "transfo_xl.npz"
    with np.load(path, allow_pickle=False) as file:
        own = [name for name in file.files if name.startswith(f"{request.param}/")]
        arrays = {name.partition("/")[2]: file[name] for name in own}
    weights = {
        name.removeprefix("weights/"): array.astype("float32")
        for name, array in arrays.items()
        if name.startswith("weights/")
    }
    body = TransfoXL(TransfoXLConfig(**{**SIZES, **VARIANTS[request.param]}))
    body.build((None, None, 16))
    load_hf_weights(body, weights)
    return body, weights, arrays


@pytest.mark.backends
def test_hidden_states_are_those_of_hugging_face(golden, apply):
    body, _, arrays = golden
    mask = arrays["mask"]
    y = apply(body, arrays["x"], mask)
    np.testing.assert_allclose(y[mask], arrays["y"][mask], rtol=0, atol=1e-5)
    assert not mask.all() and y[mask].std(axis=0).mean() > 0.3


def test_gradients_are_those_of_hugging_face(golden, gradients):
    body, weights, arrays = golden
    mask = arrays["mask"]
    ends = np.cumsum([w.size for w in weights.values()])
    pieces = np.split(arrays["gradients"], ends[:-1])
    expected = {
        name: piece.reshape(weights[name].shape)
        for name, piece in zip(weights, pieces, strict=True)
    }
    found = gradients(body, arrays["x"], mask, arrays["w"])
    by_x = arrays["gradient_x"] * mask[..., None]
    assert_same_gradients(body, found, by_x, expected)


def test_checkpoints_of_whole_models_load(golden, apply):
    body, weights, arrays = golden
    full = {f"transformer.{name}": array for name, array in weights.items()}
    full["transformer.word_emb.emb_layers.0.weight"] = np.zeros((3, 16))
    full["transformer.pos_emb.inv_freq"] = np.zeros(8)
    full["crit.out_layers.0.weight"] = np.zeros((3, 16))
    if not body.config.untie_r:
        # Shared parameters are listed in each place that uses them.
        for part in ("r_w_bias", "r_r_bias"):
            full[f"transformer.layers.1.dec_attn.{part}"] = weights[part]
    again = TransfoXL(body.config)
    again.build((None, None, 16))
    load_hf_weights(again, full)
    x, mask = arrays["x"], arrays["mask"]
    np.testing.assert_array_equal(apply(again, x, mask), apply(body, x, mask))


def test_dropout_of_the_attention_is_its_own(events, apply):
    x, mask = events(width=16)
    body = TransfoXL(TransfoXLConfig(**SIZES, dropout=0.0, dropatt=0.5))
    plain, dropped = (apply(body, x, mask, training=t) for t in (False, True))
    assert np.abs(plain - dropped).max() > 1e-3
