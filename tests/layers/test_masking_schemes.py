import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends

IDS = np.array([[5, 6, 7, 8, 0, 0], [9, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], "int32")


def events(ids, width=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*ids.shape, width)).astype("float32")


def run(layer, ids=IDS, training=True):
    x = events(ids)
    out, targets = layer(x, ids, training=training)
    mask = ops.convert_to_numpy(out._keras_mask)
    return x, ops.convert_to_numpy(out), ops.convert_to_numpy(targets), mask


# Causal


def test_clm_targets_are_the_items_that_come_next():
    x, out, targets, mask = run(t4r.CausalLanguageModeling())
    np.testing.assert_array_equal(out, x)
    # The last event has no later one.
    np.testing.assert_array_equal(mask, targets > 0)
    np.testing.assert_array_equal(targets[0], [6, 7, 8, 0, 0, 0])
    assert not targets[1:].any()


@pytest.mark.parametrize(
    "scheme",
    [
        t4r.CausalLanguageModeling(),
        t4r.CausalLanguageModeling(last_only=True),
        t4r.MaskedLanguageModeling(0.5, seed=1),
        t4r.PermutationLanguageModeling(0.5, seed=1),
    ],
    ids=["clm", "clm-last", "mlm", "plm"],
)
@pytest.mark.parametrize("training", [True, False])
def test_other_columns_get_targets_at_the_same_positions(scheme, training):
    x, categories = events(IDS), np.where(IDS > 0, IDS * 10, 0)
    _, targets, *_ = scheme(x, [IDS, categories], training=training)
    items, others = map(ops.convert_to_numpy, targets)
    np.testing.assert_array_equal(others, np.where(items > 0, items * 10, items))


def test_clm_can_train_on_the_last_item_only():
    _, _, targets, _ = run(t4r.CausalLanguageModeling(last_only=True))
    np.testing.assert_array_equal(targets[0], [0, 0, 8, 0, 0, 0])
    full = np.arange(2, 8, dtype="int32")[None]
    _, _, targets, _ = run(t4r.CausalLanguageModeling(last_only=True), full)
    np.testing.assert_array_equal(targets[0], [0, 0, 0, 0, 7, 0])


def test_clm_leaves_inference_alone():
    x, out, targets, mask = run(t4r.CausalLanguageModeling(), training=False)
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(mask, IDS != 0)
    asked = [[0, 0, 0, -1, 0, 0], [-1, 0, 0, 0, 0, 0], [0] * 6]
    np.testing.assert_array_equal(targets, asked)


# Masked


def many(rows=4000, time=8, seed=1):
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, 50, (rows, time)).astype("int32")
    lengths = rng.integers(0, time + 1, rows)
    ids[np.arange(time) >= lengths[:, None]] = 0
    return ids, lengths


def test_mlm_hides_what_it_asks_for_and_nothing_else():
    ids, _ = many(50)
    layer = t4r.MaskedLanguageModeling(rate=0.3, seed=1)
    x, out, targets, mask = run(layer, ids)
    hidden = targets > 0
    np.testing.assert_array_equal(targets[hidden], ids[hidden])
    vector = ops.convert_to_numpy(layer.mask_embedding)
    np.testing.assert_allclose(out[hidden], np.tile(vector, (hidden.sum(), 1)))
    np.testing.assert_array_equal(out[~hidden], x[~hidden])
    np.testing.assert_array_equal(mask, ids != 0)


def test_mlm_hides_at_least_one_and_leaves_at_least_one():
    for rate in (0.01, 0.99):
        ids, lengths = many()
        _, _, targets, _ = run(t4r.MaskedLanguageModeling(rate=rate, seed=2), ids)
        count = (targets > 0).sum(1)
        assert (count[lengths > 0] >= 1).all()
        assert (count[lengths > 1] < lengths[lengths > 1]).all()
        assert not targets[ids == 0].any()


def test_mlm_hides_at_its_rate_at_every_position():
    ids = np.full((20_000, 12), 3, "int32")
    _, _, targets, _ = run(t4r.MaskedLanguageModeling(rate=0.4, seed=3), ids)
    rates = (targets > 0).mean(0)
    # At least one of twelve hidden, one left: both corrections are below 0.003.
    np.testing.assert_allclose(rates, 0.4, atol=0.02)


def test_mlm_can_hide_the_last_event_only():
    ids, lengths = many(500)
    layer = t4r.MaskedLanguageModeling(rate=0.5, last_rate=1.0, seed=4)
    _, _, targets, _ = run(layer, ids)
    real = lengths > 0
    assert ((targets > 0).sum(1)[real] == 1).all()
    last = np.maximum(lengths - 1, 0)
    assert (targets[np.arange(500), last][real] > 0).all()


def test_mlm_draws_anew_each_time_but_the_same_from_the_same_seed():
    ids, _ = many(100)
    layer = t4r.MaskedLanguageModeling(rate=0.5, seed=5)
    first, second = run(layer, ids)[2], run(layer, ids)[2]
    assert (first != second).any()
    again = run(t4r.MaskedLanguageModeling(rate=0.5, seed=5), ids)[2]
    np.testing.assert_array_equal(first, again)


def test_mlm_appends_its_vector_in_inference():
    layer = t4r.MaskedLanguageModeling(rate=0.3)
    x, out, targets, mask = run(layer, training=False)
    vector = ops.convert_to_numpy(layer.mask_embedding)
    assert out.shape == (3, 7, 4)
    np.testing.assert_array_equal(targets, -np.eye(7)[[4, 1, 0]])
    for row, length in enumerate([4, 1, 0]):
        np.testing.assert_array_equal(out[row, :length], x[row, :length])
        np.testing.assert_allclose(out[row, length], vector)
        assert mask[row].tolist() == [i <= length for i in range(7)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"rate": 0.0}, "rate is 0.0"), ({"rate": 1.0}, "rate is 1.0")]
    + [({"rate": float("nan")}, "rate is NaN"), ({"seed": 1.5}, "seed is 1.5")]
    + [({"last_rate": 1.5}, "last_rate is 1.5"), ({"rate": "a"}, "rate is 'a'")],
)
def test_mlm_refuses_rates_that_make_no_sense(arguments, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        t4r.MaskedLanguageModeling(**arguments)


# Permutation


def permute(layer, ids, training=True):
    out, targets, visible = layer(events(ids), ids, training=training)
    mask = ops.convert_to_numpy(out._keras_mask)
    return *map(ops.convert_to_numpy, (out, targets, visible)), mask


@pytest.mark.parametrize("everything", [False, True])
def test_plm_shows_the_rest_and_the_targets_that_come_before(everything):
    ids, lengths = many(300)
    layer = t4r.PermutationLanguageModeling(0.4, permute_all=everything, seed=1)
    out, targets, visible, mask = permute(layer, ids)
    np.testing.assert_array_equal(out, events(ids))
    np.testing.assert_array_equal(mask, ids != 0)
    target = targets > 0
    np.testing.assert_array_equal(targets[target], ids[target])
    if everything:
        np.testing.assert_array_equal(target, ids > 0)
    for row, length in enumerate(lengths):
        seen, hit = visible[row, :length, :length], target[row, :length]
        assert not visible[row][:, length:].any()
        # The rest: seen by all, and sees nothing but itself of its kind.
        assert seen[:, ~hit].all() and not seen[~hit][:, hit].any()
        # Targets: in an order, each sees those before it.
        seen = seen[hit][:, hit]
        assert sorted(seen.sum(1)) == list(range(hit.sum()))
        assert not (seen & seen.T).any()


def test_plm_takes_at_least_one_target_and_leaves_at_least_one():
    for rate in (0.01, 0.99):
        ids, lengths = many()
        layer = t4r.PermutationLanguageModeling(rate, seed=2)
        count = (permute(layer, ids)[1] > 0).sum(1)
        assert (count[lengths > 0] >= 1).all()
        assert (count[lengths > 1] < lengths[lengths > 1]).all()


def test_plm_takes_spans_at_its_rate_wherever_they_fall():
    ids = np.full((300, 300), 3, "int32")
    layer = t4r.PermutationLanguageModeling(1 / 6, max_span_length=5, seed=3)
    target = permute(layer, ids)[1] > 0
    # A span of n events lies among 6 n. Only the first stretches begin all alike.
    assert target[:, 150:].mean() == pytest.approx(1 / 6, abs=0.005)
    edges = np.diff(np.pad(target, ((0, 0), (1, 1))).astype(int), axis=1)
    starts, ends = np.nonzero(edges == 1), np.nonzero(edges == -1)
    lengths = ends[1] - starts[1]
    # Two spans may touch, and the last may be cut off.
    assert (lengths <= 5).mean() > 0.97
    shares = np.bincount(lengths, minlength=6)[1:6] / len(lengths)
    np.testing.assert_allclose(shares, 0.2, atol=0.025)


@pytest.mark.parametrize("everything", [False, True])
def test_plm_can_ask_for_the_last_event_after_all_others(everything):
    ids, lengths = many(300)
    layer = t4r.PermutationLanguageModeling(
        0.3, permute_all=everything, seed=4, last_rate=0.5
    )
    _, targets, visible, _ = permute(layer, ids)
    asked = 0
    for row, length in enumerate(lengths):
        if length > 1:
            last = visible[row, length - 1, :length]
            asked += targets[row, length - 1] > 0 and last[:-1].all()
            # Whatever the order, no target sees itself or what follows it in it.
            hit = targets[row, :length] > 0
            seen = visible[row, :length, :length][hit][:, hit]
            assert sorted(seen.sum(1)) == list(range(hit.sum()))
    share = asked / (lengths > 1).sum()
    # Chance puts it there too, in short sessions above all.
    assert 0.5 < share < 0.75


def test_plm_appends_a_position_that_sees_all_and_is_seen_by_none():
    out, targets, visible, mask = permute(
        t4r.PermutationLanguageModeling(), IDS, training=False
    )
    assert out.shape == (3, 7, 4)
    np.testing.assert_array_equal(targets, -np.eye(7)[[4, 1, 0]])
    for row, length in enumerate([4, 1, 0]):
        assert mask[row].tolist() == [i <= length for i in range(7)]
        assert (visible[row] == (np.arange(7) < length)).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"rate": 0.0}, "rate is 0.0"), ({"max_span_length": 0}, "should be 1 or more")]
    + [({"max_span_length": 2.5}, "should be a whole number")]
    + [({"last_rate": -0.1}, "last_rate is -0.1"), ({"seed": "a"}, "seed is 'a'")],
)
def test_plm_refuses_what_makes_no_sense(arguments, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        t4r.PermutationLanguageModeling(**arguments)


@pytest.mark.parametrize(
    "layer",
    [
        t4r.CausalLanguageModeling(True),
        t4r.MaskedLanguageModeling(0.2, 0.1, 3),
        t4r.PermutationLanguageModeling(0.2, 3, True, 4, 0.1),
    ],
)
def test_schemes_serialize(layer):
    config = keras.saving.serialize_keras_object(layer)
    loaded = keras.saving.deserialize_keras_object(config)
    assert loaded.get_config() == layer.get_config()
