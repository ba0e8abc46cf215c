import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.losses import softmax_cross_entropy

pytestmark = pytest.mark.backends
ROWS, ITEMS, DIM = 6, 40, 5
NO_ITEM = -1e9


def example(first_id=2, seed=0):
    rng = np.random.default_rng(seed)
    bias = rng.normal(size=ITEMS).astype("float32")
    bias[:first_id] = NO_ITEM
    return (
        rng.normal(size=(ROWS, DIM)).astype("float32"),
        rng.normal(size=(ITEMS, DIM)).astype("float32"),
        bias,
        rng.integers(first_id, ITEMS, ROWS).astype("int32"),
        rng.random(ROWS).astype("float32"),
    )


def value(loss, arrays):
    return float(ops.convert_to_numpy(loss.call(*map(ops.convert_to_tensor, arrays))))


@pytest.mark.parametrize("first_id", [1, 2, 9])
def test_with_many_draws_it_is_the_full_softmax(first_id):
    arrays = example(first_id)
    full = float(softmax_cross_entropy(*map(ops.convert_to_tensor, arrays)))
    loss = t4r.losses.SampledSoftmax(20_000, seed=1)
    assert value(loss, arrays) == pytest.approx(full, rel=0.02)


@pytest.mark.backends("torch")
def test_its_estimate_of_the_sum_has_no_bias():
    hidden, table, bias, targets, _ = example()
    arrays = (hidden[:1], table, bias, targets[:1], np.ones(1, "float32"))
    z = hidden[0] @ table.T + bias
    loss = t4r.losses.SampledSoftmax(4, seed=2)
    draws = np.array([value(loss, arrays) for _ in range(1500)])
    # loss = log(estimate) - z[y]
    estimates = np.exp(draws + z[targets[0]])
    spread = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - np.exp(z).sum()) < 4 * spread


def test_a_target_among_the_draws_is_no_negative():
    hidden, table, _, targets, weights = example()
    # Of two rows one is no item: all that is drawn beside it is the target.
    arrays = (hidden, table[:2], np.float32([NO_ITEM, 0.3]), targets * 0 + 1, weights)
    assert value(t4r.losses.SampledSoftmax(50, seed=3), arrays) == pytest.approx(0.0)


def test_weights_count_and_rows_without_one_do_not():
    arrays = list(example())
    whole = value(t4r.losses.SampledSoftmax(8, seed=4), arrays)
    arrays[4] = arrays[4] * 2
    assert value(t4r.losses.SampledSoftmax(8, seed=4), arrays) == pytest.approx(
        2 * whole, rel=1e-5
    )
    arrays[4] = arrays[4] * 0
    assert value(t4r.losses.SampledSoftmax(8, seed=4), arrays) == 0.0


def test_losses_come_back_from_their_configs():
    for loss in (t4r.losses.SampledSoftmax(8, seed=4), t4r.losses.FullSoftmax(0.1)):
        config = keras.saving.serialize_keras_object(loss)
        again = keras.saving.deserialize_keras_object(config)
        assert again.get_config() == loss.get_config()


def test_what_is_drawn_is_state_of_the_head():
    head = t4r.NextItemHead(loss=t4r.losses.SampledSoftmax(8, seed=4))
    hidden, table, _, targets, _ = example()
    head(hidden[:, None], targets[:, None], table, training=True)
    before = [ops.convert_to_numpy(v).copy() for v in head.non_trainable_variables]
    assert before
    head(hidden[:, None], targets[:, None], table, training=True)
    after = [ops.convert_to_numpy(v) for v in head.non_trainable_variables]
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
