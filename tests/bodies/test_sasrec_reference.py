"""SASRec computes the equations of the authors' code, written out in NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_t4r.bodies import SASRecConfig, make_body

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 12}


def dense(layer, x):
    return x @ np.asarray(layer.kernel) + np.asarray(layer.bias)


def normalise(layer, x):
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    y = centred / np.sqrt(variance + 1e-8)
    return np.asarray(layer.gamma) * y + np.asarray(layer.beta)


def attention(block, queries, keys, real, heads, causal):
    """Queries from normalised events; keys and values from the events themselves."""
    q = dense(block.query, queries)
    k, v = np.split(dense(block.key_value, keys), 2, axis=-1)
    out = np.zeros_like(q)
    batch, time, width = q.shape
    size = width // heads
    for b in range(batch):
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            for i in np.flatnonzero(real[b]):
                sees = real[b] & (np.arange(time) <= i) if causal else real[b]
                scores = k[b, sees, part] @ q[b, i, part] / np.sqrt(size)
                weights = np.exp(scores - scores.max())
                out[b, i, part] = weights / weights.sum() @ v[b, sees, part]
    return out + queries


def sasrec(body, x, real, heads, scale=False, causal=True):
    real_ = real[..., None]
    if scale:
        x = x * np.sqrt(x.shape[-1])
    x = (x + np.asarray(body.positions.table)[: x.shape[1]]) * real_
    for block in body.blocks:
        queries = normalise(block.query_norm, x)
        x = attention(block, queries, x, real, heads, causal)
        x = normalise(block.feed_forward_norm, x)
        inner = np.maximum(dense(block.feed_forward.inner, x), 0)
        x = (dense(block.feed_forward.outer, inner) + x) * real_
    return normalise(body.norm, x) * real_


def random_body(causal=None, **options):
    body = make_body(
        SASRecConfig(**{**SIZES, "initializer_range": 0.2, **options}), causal=causal
    )
    body.build((None, None, 32))
    random = np.random.default_rng(3)
    for variable in body.trainable_variables:
        noise = 0.1 * random.normal(size=variable.shape)
        variable.assign_add(noise.astype("float32"))
    return body


@pytest.mark.backends
@pytest.mark.parametrize("time", [1, 2, 9])
@pytest.mark.parametrize(
    "options",
    [
        {"num_attention_heads": 1},
        {"num_attention_heads": 4},
        {"num_attention_heads": 2, "scale": True},
        {"num_attention_heads": 2, "causal": False},
    ],
    ids=["one-head", "heads", "scaled", "bidirectional"],
)
def test_it_computes_the_papers_equations(options, time, events, apply):
    body = random_body(**options)
    x, mask = events(time=time)
    expected = sasrec(
        body,
        x.astype("float64"),
        mask,
        options["num_attention_heads"],
        options.get("scale", False),
        options.get("causal", True),
    )
    np.testing.assert_allclose(apply(body, x, mask), expected, rtol=0, atol=1e-5)
    assert expected[mask].std(axis=0).mean() > 0.3


def test_events_are_not_scaled_unless_asked_for(events, apply):
    x, mask = events()
    plain, scaled = random_body(), random_body(scale=True)
    scaled.set_weights(plain.get_weights())
    np.testing.assert_allclose(
        apply(scaled, x / np.float32(np.sqrt(32)), mask),
        apply(plain, x, mask),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("hidden_size", 0, "a whole number from 1 on"),
        ("num_attention_heads", 1.5, "a whole number from 1 on"),
        ("max_position_embeddings", True, "a whole number from 1 on"),
        ("dropout", 1.0, "a number from 0 to less than 1"),
        ("layer_norm_eps", -1e-6, "a number above 0"),
        ("scale", 1, "True or False"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(option, value, wanted):
    with pytest.raises(ValueError, match=rf"SASRecConfig\({option}=.*{wanted}"):
        SASRecConfig(**{option: value})


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="width 32 is no multiple of the 5"):
        make_body(SASRecConfig(hidden_size=32, num_attention_heads=5))


def test_a_row_of_padding_only_stays_finite(events):
    x, mask = events()
    mask[1] = False
    y = random_body()(ops.convert_to_tensor(x), mask=ops.convert_to_tensor(mask))
    y = ops.convert_to_numpy(y)
    assert np.isfinite(y).all() and not y[1].any()
