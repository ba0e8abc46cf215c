"""What holds for every body, causal or not, whatever its weights."""

import keras
import numpy as np
import pytest
from body_kinds import KINDS
from keras import ops
from seeds import set_seed

from keras_t4r.bodies import make_body

pytestmark = pytest.mark.backends


@pytest.mark.backends("torch")
def test_padding_on_either_axis_changes_no_real_output(body, events, apply):
    x, mask = events(batch=4, time=9, width=body.d_input)
    y = apply(body, x, mask)
    wide = np.pad(x, ((0, 3), (0, 5), (0, 0)), constant_values=1.7)
    wide_mask = np.pad(mask, ((0, 3), (0, 5)))
    padded = apply(body, wide, wide_mask)
    # The others round differently where shapes differ; what stands in padded slots
    # changes nothing to the last digit on any backend (next test).
    bound = 2e-6 if keras.backend.backend() == "tensorflow" else 5e-6
    np.testing.assert_allclose(padded[:4, :9][mask], y[mask], rtol=0, atol=bound)
    assert np.isfinite(padded).all()


def test_what_stands_in_padded_slots_changes_nothing(body, events, apply):
    x, mask = events(width=body.d_input)
    y = apply(body, x, mask)
    for garbage in (-3.0, 1e30, np.inf, np.nan):
        dirty = np.where(mask[..., None], x, np.float32(garbage))
        np.testing.assert_array_equal(apply(body, dirty, mask), y)


def test_padding_gets_zeros_and_no_gradient(body, events, apply, gradients):
    x, mask = events(width=body.d_input)
    w, _ = events(width=body.d_model)
    mask[2] = False
    assert not apply(body, x, mask)[~mask].any()
    by_x, by_variables = gradients(body, x, mask, 1 + w)
    assert not by_x[~mask].any()
    assert all(np.isfinite(g).all() for _, g in by_variables)
    assert np.isfinite(by_x).all()


@pytest.mark.backends("torch")
def test_no_mask_is_a_mask_of_real_events_only(body, events):
    x, mask = events(width=body.d_input)
    x, everything = map(ops.convert_to_tensor, (x, np.ones_like(mask)))
    # Not compiled: two graphs round differently.
    told, untold = map(ops.convert_to_numpy, (body(x, mask=everything), body(x)))
    np.testing.assert_allclose(untold, told, rtol=0, atol=1e-6)


def test_an_event_changes_exactly_what_may_see_it(body, causal, events, apply):
    x, mask = events(batch=3, time=8, width=body.d_input)
    y = apply(body, x, mask)
    other, _ = events(batch=3, time=8, seed=1, width=body.d_input)
    for j in range(8):
        changed = x.copy()
        changed[:, j] = other[:, j]
        change = np.abs(apply(body, changed, mask) - y).max(axis=-1)
        sees = mask & mask[:, j : j + 1]
        if causal:
            sees = sees & (np.arange(8) >= j)
        assert (change[sees] > 1e-4).all()
        np.testing.assert_allclose(change[~sees], 0.0, atol=1e-6)


def test_causal_is_what_the_config_says_unless_told_otherwise(small_config):
    assert make_body(small_config("gpt2")).causal
    told = small_config("gpt2")
    told.is_causal = False
    assert not make_body(told).causal
    assert not make_body(small_config("gpt2"), causal=False).causal
    assert not make_body(small_config("bert")).causal
    assert make_body(small_config("bert", is_decoder=True)).causal
    assert make_body(small_config("bert"), causal=True).causal
    assert not make_body(small_config("xlnet")).causal
    assert make_body(small_config("xlnet", attn_type="uni")).causal
    assert not make_body(small_config("xlnet", attn_type="uni"), causal=False).causal


@pytest.mark.backends("torch")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_stays_finite(
    kind, causal, policy, small_config, events, apply, gradients
):
    one_way = len(KINDS[kind].directions) == 1 and keras.backend.backend() != "jax"
    if keras.backend.backend() != "torch" and not one_way:
        # Attention under a causal mask is what float16 may break.
        if causal != (policy == "mixed_float16"):
            pytest.skip("PyTorch shows both policies in both directions")
    config = small_config(kind, initializer_range=0.05)
    body = make_body(config, causal=causal, dtype=policy)
    x, mask = events(batch=6, time=20, width=body.d_input)
    mask[3] = False
    x[0] *= 100
    body.build(x.shape)
    assert body(keras.KerasTensor(x.shape)).dtype == body.compute_dtype
    y = apply(body, x, mask)
    assert np.isfinite(y).all()
    by_x, by_variables = gradients(body, x, mask, np.full(y.shape, 0.01, "float32"))
    assert np.isfinite(by_x).all()
    assert all(np.isfinite(g).all() for _, g in by_variables)

    exact = make_body(config, causal=causal, dtype="float32")
    exact.build(x.shape)
    exact.set_weights(body.get_weights())
    difference = y - apply(exact, x, mask)
    bound = 0.02 if policy == "mixed_float16" else 0.15
    assert np.abs(difference[mask]).mean() < bound


@pytest.mark.backends("torch")
def test_dropout_acts_in_training_only_and_follows_its_seed(
    kind, small_config, events, apply
):
    x, mask = events(width=make_body(small_config(kind)).d_input)
    runs = []
    for _ in range(2):
        set_seed(11)
        body = make_body(small_config(kind, dropout=0.2))
        runs.append([apply(body, x, mask, training=t) for t in (False, True, True)])
    plain, first, second = runs[0]
    assert np.abs(first - plain)[mask].max() > 1e-2
    assert np.abs(first - second)[mask].max() > 1e-2
    np.testing.assert_array_equal(runs[0], runs[1])


@pytest.mark.backends("torch")
def test_shapes_are_known_before_the_first_call(kind, small_config):
    body = make_body(small_config(kind))
    width, out = body.d_input, body.d_model
    assert body.compute_output_shape((None, None, width)) == (None, None, out)
    x = keras.Input((None, width))
    mask = keras.Input((None,), dtype="bool")
    y = body(x, mask=mask)
    assert y.shape == (None, None, out)
    model = keras.Model([x, mask], y)
    y = model([np.ones((2, 4, width), "float32"), np.ones((2, 4), bool)])
    assert y.shape == (2, 4, out)


@pytest.mark.backends("torch")
def test_a_body_comes_back_from_its_config(kind, small_config, events, apply):
    body = make_body(small_config(kind), causal=True)
    x, mask = events(width=body.d_input)
    y = apply(body, x, mask)
    config = keras.saving.serialize_keras_object(body)
    again = keras.saving.deserialize_keras_object(config)
    assert again.config.to_dict() == body.config.to_dict()
    assert again.causal
    again.set_weights(body.get_weights())
    np.testing.assert_array_equal(apply(again, x, mask), y)
