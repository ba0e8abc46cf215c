import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends


def sessions(rows=400, time=10, seed=0):
    """Every value of every column is one of a kind, and padding has its own."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, time + 1, rows)
    real = np.arange(time) < lengths[:, None]
    number = np.arange(1, rows * time + 1).reshape(rows, time)
    return {
        "item_id": np.where(real, number, 0).astype("int32"),
        "age": np.where(real, number + 0.5, -1.0).astype("float32"),
        "country": np.where(lengths > 0, np.arange(1, rows + 1), 0).astype("int32"),
    }, real


def swap(inputs, training=True, **options):
    layer = t4r.StochasticSwapNoise("item_id", **options)
    outputs = layer(
        {k: ops.convert_to_tensor(v) for k, v in inputs.items()}, training=training
    )
    return {k: ops.convert_to_numpy(v) for k, v in outputs.items()}


def test_values_are_swapped_at_the_rate_for_real_ones_of_their_column():
    inputs, real = sessions()
    noisy = swap(inputs, rate=0.3, seed=1)
    assert set(noisy) == set(inputs)
    for name, x in inputs.items():
        assert noisy[name].dtype == x.dtype and noisy[name].shape == x.shape
        valid = real if x.ndim == 2 else real.any(1)
        changed = noisy[name] != x
        assert not changed[~valid].any()
        assert changed[valid].mean() == pytest.approx(0.3, abs=0.07)
        assert np.isin(noisy[name][changed], x[valid]).all()


def test_every_real_value_is_as_likely_to_be_drawn():
    inputs, real = sessions(rows=6, time=5, seed=3)
    values = inputs["item_id"][real]
    layer = t4r.StochasticSwapNoise("item_id", rate=0.9, seed=2)
    drawn = []
    for _ in range(300):
        noisy = ops.convert_to_numpy(layer(inputs, training=True)["item_id"])
        drawn.append(noisy[noisy != inputs["item_id"]])
    counts = np.bincount(np.concatenate(drawn), minlength=values.max() + 1)[values]
    assert counts.min() > 0.7 * counts.mean() and counts.max() < 1.3 * counts.mean()


def test_columns_are_swapped_independently():
    inputs, _ = sessions()
    noisy = swap(inputs, rate=0.5, seed=4)
    item, age = (noisy[k] != inputs[k] for k in ("item_id", "age"))
    assert (item & age).sum() == pytest.approx(item.sum() * 0.5, rel=0.15)


def test_inference_and_rate_zero_leave_all_as_it_was():
    inputs, _ = sessions(20)
    for noisy in (swap(inputs, training=False), swap(inputs, rate=0.0)):
        for name, x in inputs.items():
            np.testing.assert_array_equal(noisy[name], x)


def test_a_batch_of_nothing_stays_nothing():
    inputs = {"item_id": np.zeros((3, 4), "int32"), "age": np.zeros((3, 4), "float32")}
    for name, x in swap(inputs, rate=0.9).items():
        np.testing.assert_array_equal(x, inputs[name])


def test_the_same_seed_swaps_the_same_whatever_the_order_of_columns():
    inputs, _ = sessions(50)
    one = swap(inputs, rate=0.5, seed=5)
    other = swap(dict(reversed(inputs.items())), rate=0.5, seed=5)
    for name in inputs:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan"), "0.1", None])
def test_a_rate_that_makes_no_sense_is_refused(rate):
    with pytest.raises((TypeError, ValueError), match="rate is"):
        t4r.StochasticSwapNoise("item_id", rate=rate)


def test_a_missing_item_column_is_named():
    with pytest.raises(ValueError, match="'item_id', which its input has not"):
        swap({"age": np.zeros((2, 3), "float32")})


def test_it_serializes():
    layer = t4r.StochasticSwapNoise("item_id", 0.2, 3)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
