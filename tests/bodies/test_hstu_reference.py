"""HSTU computes its paper's equations, written out in NumPy, with and without times."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_t4r.bodies import HSTUConfig, make_body
from keras_t4r.bodies.parts.hstu_block import time_buckets

LIMIT = 12
EPOCH = 1_700_000_000


def silu(x):
    return x / (1 + np.exp(-x))


def normalise(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def bucket(first, second, last):
    apart = max(1, abs(int(first) - int(second)))
    return min(int(np.floor(np.log(apart) / 0.301)), last)


def hstu(body, x, real, times=None, causal=True):
    config = body.config
    heads = config.num_attention_heads
    dqk = config.attention_dim or config.hidden_size // heads
    dv = config.linear_dim or config.hidden_size // heads
    batch = len(x)
    x = x * real[..., None]
    for block in body.blocks:
        kernel = np.asarray(block.uvqk.kernel)
        by_distance = np.asarray(block.distance_bias)
        sizes = np.cumsum([heads * dv, heads * dv, heads * dqk])
        u, v, q, k = np.split(silu(normalise(x) @ kernel), sizes, axis=-1)
        mixed = np.zeros_like(v)
        for b in range(batch):
            for i in np.flatnonzero(real[b]):
                for j in np.flatnonzero(real[b]):
                    if causal and j > i:
                        continue
                    bias = by_distance[i - j + LIMIT - 1]
                    if times is not None:
                        w = np.asarray(block.time_bias)
                        bias = bias + w[bucket(times[b, i], times[b, j], len(w) - 1)]
                    for h in range(heads):
                        qk, val = (slice(h * d, (h + 1) * d) for d in (dqk, dv))
                        a = silu(q[b, i, qk] @ k[b, j, qk] + bias) / LIMIT
                        mixed[b, i, val] += a * v[b, j, val]
        output = block.output_projection
        gated = u * normalise(mixed)
        x = x + gated @ np.asarray(output.kernel) + np.asarray(output.bias)
    return x * real[..., None]


def random_body(timed=False, causal=None, **options):
    sizes = {"hidden_size": 32, "max_position_embeddings": LIMIT}
    config = HSTUConfig(**{**sizes, "initializer_range": 0.15, **options})
    body = make_body(config, causal=causal)
    body.build((None, None, 32), *([(None, None)] if timed else []))
    random = np.random.default_rng(3)
    for variable in body.trainable_variables:
        noise = 0.1 * random.normal(size=variable.shape)
        variable.assign_add(noise.astype("float32"))
    return body


def some_times(mask, seed=0, last=EPOCH):
    random = np.random.default_rng(seed)
    gaps = np.exp(random.uniform(0, 9, size=mask.shape))
    return (last + np.cumsum(gaps, axis=1)).astype("int32")


@pytest.fixture
def answer():
    def run(body, x, mask, times, training=False):
        y = body(
            ops.convert_to_tensor(x),
            mask=None if mask is None else ops.convert_to_tensor(mask),
            times=ops.convert_to_tensor(times),
            training=training,
        )
        return ops.convert_to_numpy(ops.cast(y, "float32"))

    return run


OPTIONS = {
    "default": {},
    "bidirectional": {"causal": False},
    "narrow": {"attention_dim": 5, "linear_dim": 12, "num_attention_heads": 2},
}


@pytest.mark.backends
@pytest.mark.parametrize("time", [1, 2, 9])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_computes_the_papers_equations(options, time, events, apply):
    body = random_body(**options)
    x, mask = events(time=time)
    causal = options.get("causal", True)
    expected = hstu(body, x.astype("float64"), mask, causal=causal)
    np.testing.assert_allclose(apply(body, x, mask), expected, rtol=0, atol=1e-5)
    assert expected[mask].std(axis=0).mean() > 0.3


@pytest.mark.backends("torch")
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_does_so_with_times(options, dtype, events, answer):
    body = random_body(timed=True, num_buckets=20, **options)
    x, mask = events()
    times = some_times(mask).astype(dtype)
    causal = options.get("causal", True)
    expected = hstu(body, x.astype("float64"), mask, times, causal)
    y = answer(body, x, mask, times)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    without = hstu(body, x.astype("float64"), mask, np.zeros_like(times), causal)
    assert np.abs(without - expected).max() > 1e-2


def test_buckets_are_those_of_the_formula_up_to_the_last():
    apart = np.array([0, 1, 2, 3, 60, 3600, 86400, 10**9])
    times = np.concatenate([[0], apart])[None].astype("int64") + EPOCH
    buckets = ops.convert_to_numpy(time_buckets(ops.convert_to_tensor(times), 50))
    expected = np.floor(np.log(np.maximum(apart, 1)) / 0.301).clip(max=50)
    np.testing.assert_array_equal(buckets[0, 0, 1:], expected)
    np.testing.assert_array_equal(buckets, buckets.swapaxes(1, 2))
    assert expected[-1] == 50 and expected[-2] == 37


@pytest.mark.backends("torch")
def test_seconds_count_even_since_1970(events, answer):
    body = random_body(timed=True)
    x, mask = events(batch=1, time=3)
    mask[:] = True
    close, later = np.array([[0, 4, 8]]), np.array([[0, 4, 30]])
    y = [answer(body, x, mask, (EPOCH + t).astype("int32")) for t in (close, later)]
    change = np.abs(y[0] - y[1]).max(axis=-1)[0]
    assert not change[:2].any() and change[2] > 1e-3
    # What counts is the difference.
    np.testing.assert_array_equal(y[0], answer(body, x, mask, close.astype("int32")))


@pytest.mark.backends
def test_times_at_padding_are_ignored(events, answer):
    body = random_body(timed=True, causal=False)
    x, mask = events()
    mask[2] = False
    times = some_times(mask)
    y = answer(body, x, mask, times)
    for garbage in (-(2**31), 2**31 - 1):
        dirty = np.where(mask, times, garbage).astype("int32")
        np.testing.assert_array_equal(answer(body, x, mask, dirty), y)
    floats = np.where(mask, times - EPOCH, 0).astype("float32")
    dirty = np.where(mask, floats, np.float32(np.nan))
    np.testing.assert_array_equal(
        answer(body, x, mask, dirty), answer(body, x, mask, floats)
    )
    assert np.isfinite(y).all() and not y[~mask].any()


@pytest.mark.backends("torch")
def test_more_padding_changes_nothing_with_times(events, answer):
    body = random_body(timed=True)
    x, mask = events()
    times = some_times(mask)
    wide = np.pad(x, ((0, 0), (0, 3), (0, 0)), constant_values=1.7)
    y = answer(
        body, wide, np.pad(mask, ((0, 0), (0, 3))), np.pad(times, ((0, 0), (0, 3)))
    )
    np.testing.assert_allclose(
        y[:, :9][mask], answer(body, x, mask, times)[mask], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_whole_seconds_pass_half_precision_unharmed(policy, events, answer):
    exact = random_body(timed=True)
    half = make_body(exact.config, dtype=policy)
    half.build((None, None, 32), (None, None))
    half.set_weights(exact.get_weights())
    x, mask = events()
    times = some_times(mask)
    bound = 0.02 if policy == "mixed_float16" else 0.15
    difference = answer(half, x, mask, times) - answer(exact, x, mask, times)
    assert np.abs(difference)[mask].mean() < bound
    with pytest.raises(ValueError, match=r"cannot tell times apart in b?float16"):
        answer(half, x, mask, times.astype("float32"))


@pytest.mark.backends
def test_all_weights_learn_from_times(events, gradients):
    x, mask = events()
    times = ops.convert_to_tensor(some_times(mask))

    class Timed(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.body = random_body(timed=True)
            self.built = self.supports_masking = True

        def call(self, x, mask=None, training=None):
            return self.body(x, mask=mask, times=times, training=training)

    w = np.random.default_rng(1).normal(size=x.shape).astype("float32")
    _, by_variables = gradients(Timed(), x, mask, w)
    assert len(by_variables) == 2 * 5
    assert all(np.abs(gradient).max() > 1e-4 for _, gradient in by_variables)


def test_times_or_none_is_settled_by_the_first_call(events, answer, apply):
    x, mask = events()
    times = some_times(mask)
    with pytest.raises(ValueError, match="built without times and called with them"):
        answer(random_body(), x, mask, times)
    with pytest.raises(ValueError, match="built with times and called without"):
        apply(random_body(timed=True), x, mask)


def test_an_event_without_a_time_is_refused(events, answer):
    x, mask = events()
    with pytest.raises(ValueError, match=r"times \(5, 8\) for events \(5, 9\): a mask"):
        answer(random_body(timed=True), x, mask, some_times(mask)[:, 1:])


@pytest.mark.parametrize("option", ["attention_dim", "linear_dim", "num_buckets"])
def test_a_field_that_makes_no_sense_is_refused(option):
    with pytest.raises(ValueError, match=rf"HSTUConfig\({option}=0\)"):
        HSTUConfig(**{option: 0})
