import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops

import keras_t4r as t4r
from keras_t4r.backend import shapes_are_fixed
from keras_t4r.losses import samplers, softmax_cross_entropy

pytestmark = pytest.mark.backends
ROWS, ITEMS, DIM, FIRST = 6, 40, 5, 2
NO_ITEM = -1e9
COUNTS = np.r_[0, 0, 1000.0 / np.arange(1, ITEMS - 1)]

LOSSES = {
    "softmax": t4r.losses.SampledSoftmax,
    "bce": t4r.losses.BinaryCrossEntropy,
    "gbce": t4r.losses.GeneralizedBinaryCrossEntropy,
    "bpr": t4r.losses.BPRMax,
    "top1": t4r.losses.TOP1Max,
}
SAMPLERS = {
    "uniform": lambda m: samplers.UniformSampler(m, seed=1),
    "per target": lambda m: samplers.UniformSampler(m, per_target=True, seed=1),
    "log-uniform": lambda m: samplers.LogUniformSampler(m, seed=1),
    "popularity": lambda m: samplers.PopularitySampler(COUNTS, negatives=m, seed=1),
    "mixed": lambda m: samplers.MixedSampler(
        [samplers.InBatchSampler(COUNTS), samplers.UniformSampler(m, seed=1)]
    ),
}


def example(rows=ROWS, first_id=FIRST, seed=0):
    rng = np.random.default_rng(seed)
    bias = rng.normal(size=ITEMS).astype("float32")
    bias[:first_id] = NO_ITEM
    return (
        rng.normal(size=(rows, DIM)).astype("float32"),
        rng.normal(size=(ITEMS, DIM)).astype("float32"),
        bias,
        rng.integers(first_id, ITEMS, rows).astype("int32"),
        rng.random(rows).astype("float32"),
    )


def built(loss, rows=ITEMS, first_id=FIRST):
    loss.build(keras.layers.Layer(), rows, first_id)
    return loss


def value(loss, arrays):
    return float(ops.convert_to_numpy(loss.call(*map(ops.convert_to_tensor, arrays))))


def gradients(loss, arrays):
    targets, weights = map(ops.convert_to_tensor, arrays[3:])
    return value_and_gradients(lambda *x: loss.call(*x, targets, weights), arrays[:3])


# The softmax


@pytest.mark.parametrize("kind", ["uniform", "log-uniform", "popularity", "mixed"])
def test_with_many_draws_it_is_the_full_softmax(kind):
    arrays = example()
    full = softmax_cross_entropy(*map(ops.convert_to_tensor, arrays))
    loss = built(t4r.losses.SampledSoftmax(SAMPLERS[kind](40_000)))
    assert value(loss, arrays) == pytest.approx(float(full), rel=0.02)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("kind", ["uniform", "per target", "popularity"])
def test_its_expected_gradient_is_that_of_the_full_softmax(kind):
    arrays = example()
    _, *full = value_and_gradients(
        lambda *x: softmax_cross_entropy(*x, *map(ops.convert_to_tensor, arrays[3:])),
        arrays[:3],
    )
    loss = built(t4r.losses.SampledSoftmax(SAMPLERS[kind](400)))
    draws = [gradients(loss, arrays)[1:] for _ in range(100)]
    for exact, drawn in zip(full, zip(*draws, strict=True), strict=True):
        drawn = np.stack(drawn)
        spread = drawn.std(axis=0) / np.sqrt(len(drawn)) + 1e-4
        assert np.abs((drawn.mean(axis=0) - exact) / spread).max() < 5
    # Without the correction it is not.
    if kind == "popularity":
        loss = built(t4r.losses.SampledSoftmax(SAMPLERS[kind](400), log_q=False))
        hidden = np.mean([gradients(loss, arrays)[1] for _ in range(20)], axis=0)
        assert np.abs(hidden - full[0]).max() > 0.1


@pytest.mark.backends("torch")
def test_its_estimate_of_the_sum_has_no_bias():
    hidden, table, bias, targets, _ = example()
    arrays = (hidden[:1], table, bias, targets[:1], np.ones(1, "float32"))
    z = hidden[0] @ table.T + bias
    loss = built(t4r.losses.SampledSoftmax(samplers.UniformSampler(4, seed=2)))
    draws = np.array([value(loss, arrays) for _ in range(1500)])
    # loss = log(estimate) - z[y]
    estimates = np.exp(draws + z[targets[0]])
    spread = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - np.exp(z).sum()) < 4 * spread


# All of them


@pytest.mark.parametrize("kind", LOSSES)
def test_a_target_among_the_draws_weighs_exactly_nothing(kind):
    hidden, table, _, targets, weights = example()
    # Of three rows two are no items: all that is drawn is the target.
    bias = np.float32([NO_ITEM, NO_ITEM, 0.3])
    arrays = (hidden, table[:3], bias, targets * 0 + 2, weights)
    loss = built(LOSSES[kind](samplers.UniformSampler(50, seed=3)), rows=3)
    alone = built(LOSSES[kind](samplers.UniformSampler(1, seed=3)), rows=3)
    for a, b in zip(gradients(loss, arrays), gradients(alone, arrays), strict=True):
        assert np.isfinite(a).all()
        if kind == "gbce":
            continue  # its power depends on how many are drawn
        np.testing.assert_array_equal(a, b)
    if kind not in ("bce", "gbce"):
        assert value(loss, arrays) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_weights_count_and_targets_without_one_do_not(kind, sampler):
    arrays = list(example())
    once = value(built(LOSSES[kind](SAMPLERS[sampler](8))), arrays)
    assert np.isfinite(once) and once > 0
    arrays[4] = arrays[4] * 2
    twice = value(built(LOSSES[kind](SAMPLERS[sampler](8))), arrays)
    assert twice == pytest.approx(2 * once, rel=1e-5)
    arrays[4] = arrays[4] * 0
    assert value(built(LOSSES[kind](SAMPLERS[sampler](8))), arrays) == 0.0


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("sampler", ["uniform", "per target", "mixed"])
def test_no_targets_and_large_scores_give_no_nan(kind, sampler):
    for arrays in (example(rows=0), [x * 1 for x in example()]):
        if len(arrays[0]):
            arrays[0] *= 1e3
        elif keras.backend.backend() == "jax":
            continue
        loss = built(LOSSES[kind](SAMPLERS[sampler](8)))
        for x in gradients(loss, arrays):
            assert np.isfinite(x).all()


@pytest.mark.parametrize("kind", sorted({*LOSSES} - {"gbce"}))
def test_only_the_hardest_count(kind):
    arrays = example(rows=1)
    hidden, table, bias, targets, _ = arrays
    sampler = samplers.UniformSampler(9, seed=5)
    loss = built(LOSSES[kind](sampler, hardest=2))
    _, _, d_table, _ = gradients(loss, arrays)
    moved = set(np.flatnonzero(np.abs(d_table).sum(1))) - set(targets)
    drawn = built(samplers.UniformSampler(9, seed=5)).draw(targets, arrays[4])
    drawn = [i for i in ops.convert_to_numpy(drawn) if i != targets[0]]
    z = hidden[0] @ table.T + bias
    assert moved <= set(sorted(drawn, key=lambda i: -z[i])[:2])
    assert moved


@pytest.mark.parametrize("kind", ["bpr", "top1"])
def test_maxima_are_their_equations(kind):
    hidden, table, bias, targets, weights = example()
    loss = built(LOSSES[kind](samplers.UniformSampler(9, seed=6)))
    drawn = built(samplers.UniformSampler(9, seed=6)).draw(targets, weights)
    drawn = ops.convert_to_numpy(drawn)
    total = 0.0
    for h, y, w in zip(hidden, targets, weights, strict=True):
        z = (h @ table.T + bias).astype("float64")
        negative = z[[i for i in drawn if i != y]]
        s = np.exp(negative) / np.exp(negative).sum()
        sigmoid = 1 / (1 + np.exp(-(z[y] - negative)))
        if kind == "bpr":
            one = -np.log((s * sigmoid).sum()) + (s * negative**2).sum()
        else:
            one = (s * (1 - sigmoid + 1 / (1 + np.exp(-(negative**2))))).sum()
        total += w * one
    assert value(loss, (hidden, table, bias, targets, weights)) == pytest.approx(
        total, rel=1e-4
    )


@pytest.mark.backends("torch")
@pytest.mark.parametrize("calibration", [1.0, 0.0])
def test_calibrated_scores_are_probabilities(calibration):
    """With t = 1 the loss is least where the sigmoid is an item's probability; with
    t = 0 (plain binary cross-entropy) where it is far above."""
    rows, draws = 4000, 8
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(ITEMS - FIRST) * 0.5).clip(0.01)
    p /= p.sum()
    targets = rng.choice(ITEMS - FIRST, rows, p=p).astype("int32") + FIRST
    p = np.bincount(targets - FIRST, minlength=ITEMS - FIRST) / rows
    # One context, whose scores are the biases.
    bias = np.r_[np.full(FIRST, NO_ITEM), np.log(p / (1 - p))].astype("float32")
    arrays = (
        np.zeros((rows, 1), "float32"),
        np.zeros((ITEMS, 1), "float32"),
        bias,
        targets,
        np.ones(rows, "float32"),
    )
    sampler = samplers.UniformSampler(draws, per_target=True, seed=2)
    loss = built(
        t4r.losses.GeneralizedBinaryCrossEntropy(sampler, calibration=calibration)
    )
    d_bias = np.mean([gradients(loss, arrays)[3] for _ in range(10)], axis=0)[FIRST:]
    # What there would be of each item if nothing were balanced out.
    alone = rows * p * (1 - p) * draws / (ITEMS - FIRST - 1) / (draws + 1)
    if calibration:
        assert np.abs(d_bias / alone).max() < 0.2
    else:
        assert (d_bias / alone < -1).all()


def test_without_calibration_it_is_binary_cross_entropy():
    arrays = example()
    one = built(t4r.losses.BinaryCrossEntropy(SAMPLERS["uniform"](9)))
    other = built(
        t4r.losses.GeneralizedBinaryCrossEntropy(
            SAMPLERS["uniform"](9), calibration=0.0
        )
    )
    assert value(one, arrays) == pytest.approx(value(other, arrays), rel=1e-6)


def test_each_target_is_held_against_an_item_of_its_own():
    """By default, as in SASRec."""
    hidden, table, bias, targets, weights = example(rows=200)
    loss = built(t4r.losses.BinaryCrossEntropy())
    # What no target is has a gradient only where it was drawn.
    targets[:] = FIRST
    d_bias = gradients(loss, (hidden, table, bias, targets, weights))[3]
    assert np.count_nonzero(d_bias[FIRST + 1 :]) > 30
    other = t4r.losses.BinaryCrossEntropy.from_config(loss.get_config())
    assert other.negatives.per_target


@pytest.mark.parametrize("kind", LOSSES)
def test_rows_of_padding_change_nothing(kind):
    hidden, table, bias, targets, weights = example()
    counts = np.maximum(COUNTS, 1)
    loss = built(LOSSES[kind](samplers.InBatchSampler(counts)))
    padding = (
        np.concatenate([hidden, hidden[:3] + 1]),
        table,
        bias,
        np.concatenate([targets, targets[::-1][:3]]),
        np.concatenate([weights, np.zeros(3, "float32")]),
    )
    alone = value(loss, (hidden, table, bias, targets, weights))
    assert value(loss, padding) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("hardest", [None, 2])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_batch_without_targets_has_no_loss(kind, hardest):
    hidden, table, bias, targets, weights = example()
    more = {} if kind == "gbce" else {"hardest": hardest}
    loss = built(LOSSES[kind](samplers.InBatchSampler(COUNTS), **more))
    # On JAX, where shapes are fixed, there are as many rows as events.
    for rows, weight in ((ROWS, 0.0), (0 if not shapes_are_fixed() else 1, 0.0)):
        arrays = (hidden[:rows], table, bias, targets[:rows], weights[:rows] * weight)
        assert value(loss, arrays) == 0.0
        assert all(np.isfinite(g).all() for g in gradients(loss, arrays))


# As parts of a head


@pytest.mark.parametrize("kind", ["uniform", "popularity", "mixed"])
def test_one_loss_serves_two_heads(kind):
    loss = t4r.losses.SampledSoftmax(SAMPLERS[kind](8))
    hidden, table, _, targets, _ = example()
    one, other = (t4r.NextItemHead(loss=loss) for _ in range(2))
    one(hidden[:, None], targets[:, None], table, training=True)
    before = [ops.convert_to_numpy(v).copy() for v in one.non_trainable_variables]
    # Of another catalogue: the first head's items are not the second one's.
    if kind == "uniform":
        other(hidden[:, None], targets[:, None] * 0 + 2, table[:9], training=True)
    else:
        other(hidden[:, None], targets[:, None], table, training=True)
    assert len(one.weights) == len(other.weights)
    after = [ops.convert_to_numpy(v) for v in one.non_trainable_variables]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    one(hidden[:, None], targets[:, None], table, training=True)
    assert one.loss.negatives is not other.loss.negatives
    if kind == "uniform":
        assert (one.loss.negatives.rows, other.loss.negatives.rows) == (ITEMS, 9)


class OfParts(t4r.losses.NextItemLoss):
    def __init__(self, parts):
        self.parts = parts


def test_parts_of_a_loss_are_a_heads_own_wherever_they_are_held():
    sampler = samplers.UniformSampler(4, seed=1)
    for parts in ({"a": sampler}, [sampler], (sampler,), {"a": [OfParts(sampler)]}):
        held = t4r.NextItemHead(loss=OfParts(parts)).loss.parts
        assert type(held) is type(parts)
        (one,) = held.values() if isinstance(held, dict) else held
        one = one[0].parts if isinstance(one, list) else one
        assert one is not sampler
        assert one.seed_generator is not sampler.seed_generator


def test_the_loss_of_a_head_cannot_be_exchanged():
    head = t4r.NextItemHead()
    with pytest.raises(AttributeError, match="make another NextItemHead"):
        head.loss = t4r.losses.BPRMax(8)


class Returning(t4r.losses.NextItemLoss):
    def __init__(self, what):
        self.what = what

    def call(self, hidden, table, bias, targets, weights):
        return {"nothing": None, "a vector": weights, "a number": 1.5}[self.what]


def test_a_loss_returns_a_scalar():
    hidden, table, _, targets, _ = example()
    for what, found in (("nothing", "nothing"), ("a vector", "a tensor of shape")):
        head = t4r.NextItemHead(loss=Returning(what))
        with pytest.raises(ValueError, match=f"returned {found}.* a scalar"):
            head(hidden[:, None], targets[:, None], table, training=True)
    head = t4r.NextItemHead(loss=Returning("a number"))
    head(hidden[:, None], targets[:, None], table, training=True)
    assert float(ops.convert_to_numpy(head.losses[0])) == pytest.approx(1.5 / ROWS)


def test_losses_come_back_from_their_configs():
    made = [
        make(SAMPLERS["mixed"](8), hardest=3)
        for kind, make in LOSSES.items()
        if kind != "gbce"
    ]
    made += [
        t4r.losses.FullSoftmax(0.1, "items", 1e-4),
        t4r.losses.ScalableCrossEntropy(4, 5, 6, seed=7),
        t4r.losses.GeneralizedBinaryCrossEntropy(8, calibration=0.5),
        t4r.losses.BPRMax(8, regularization=0.5),
        t4r.losses.SampledSoftmax(samplers.InBatchSampler(), log_q=False),
    ]
    for loss in made:
        config = keras.saving.serialize_keras_object(loss)
        again = keras.saving.deserialize_keras_object(config)
        assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("kind", ["uniform", "mixed", "popularity"])
def test_what_is_drawn_is_state_of_the_head(kind):
    head = t4r.NextItemHead(loss=t4r.losses.SampledSoftmax(SAMPLERS[kind](8)))
    hidden, table, _, targets, _ = example()
    head(hidden[:, None], targets[:, None], table, training=True)
    before = [ops.convert_to_numpy(v).copy() for v in head.non_trainable_variables]
    assert before
    head(hidden[:, None], targets[:, None], table, training=True)
    after = [ops.convert_to_numpy(v) for v in head.non_trainable_variables]
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_counts_of_a_sampler_are_weights_of_the_head():
    loss = t4r.losses.SampledSoftmax(
        samplers.PopularitySampler(COUNTS, negatives=8, seed=4)
    )
    head = t4r.NextItemHead(loss=loss)
    hidden, table, _, targets, _ = example()
    x = (hidden[:, None], targets[:, None], table)
    head(*x, training=True)
    again = t4r.NextItemHead.from_config(head.get_config())
    again(*x, training=True)
    again.set_weights(head.get_weights())
    # Both have drawn once.
    head(*x, training=True)
    again(*x, training=True)
    one, other = (float(ops.convert_to_numpy(h.losses[0])) for h in (head, again))
    assert one == other and np.isfinite(one)


@pytest.mark.parametrize(
    ("make", "error", "why"),
    [
        (
            lambda: t4r.NextItemHead(loss=t4r.losses.FullSoftmax),
            TypeError,
            "FullSoftmax is a class",
        ),
        (lambda: t4r.losses.FullSoftmax(1.0), ValueError, "label_smoothing is 1"),
        (lambda: t4r.losses.FullSoftmax(filter_below=-1), ValueError, "filter_below"),
        (lambda: t4r.losses.FullSoftmax(chunks="rows"), ValueError, "chunks is 'rows'"),
        (lambda: t4r.losses.BPRMax(regularization=-1), ValueError, "regularization"),
        (lambda: t4r.losses.TOP1Max(8, hardest=0), ValueError, "hardest is 0"),
        (
            lambda: t4r.losses.GeneralizedBinaryCrossEntropy(calibration=2),
            ValueError,
            "calibration is 2",
        ),
        (
            lambda: t4r.losses.ScalableCrossEntropy(buckets=1.5),
            TypeError,
            "buckets is 1.5",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, error, why):
    with pytest.raises(error, match=why):
        make()
