import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from keras_t4r.losses import SampledSoftmax, samplers
from keras_t4r.losses.samplers.alias_table import alias_table

pytestmark = pytest.mark.backends
ROWS, FIRST = 40, 2
COUNTS = np.r_[
    7,
    7,
    np.floor(1000 / np.arange(1, ROWS - 1) ** 1.2),
][:ROWS]
TARGETS = np.repeat(np.arange(FIRST, FIRST + 6), [1, 5, 2, 4, 3, 1]).astype("int32")
WEIGHTS = np.ones(len(TARGETS), "float32")

SAMPLERS = {
    "uniform": lambda **kw: samplers.UniformSampler(50, seed=1, **kw),
    "log-uniform": lambda **kw: samplers.LogUniformSampler(50, seed=1, **kw),
    "popularity": lambda **kw: samplers.PopularitySampler(
        COUNTS, 0.75, negatives=50, seed=1, **kw
    ),
}


class Head(keras.layers.Layer):
    """What a sampler knows of a head."""


def built(sampler):
    sampler.build(Head(), ROWS, FIRST)
    return sampler


def drawn(sampler, times):
    ids = [ops.convert_to_numpy(sampler.draw(TARGETS, WEIGHTS)) for _ in range(times)]
    return np.stack(ids)


def shares(sampler):
    """How often each id should be drawn, a draw."""
    ids = np.arange(ROWS, dtype="int32")
    counts = np.exp(ops.convert_to_numpy(sampler.log_counts(ids, WEIGHTS)))
    return np.where(ids < FIRST, 0, counts)


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("per_target", [False, True])
def test_draws_are_distributed_as_they_say(kind, per_target):
    sampler = built(SAMPLERS[kind](per_target=per_target))
    ids = drawn(sampler, 400 if not per_target else 30)
    assert ids.shape[1:] == ((len(TARGETS), 50) if per_target else (50,))
    assert ids.min() >= FIRST and ids.max() < ROWS
    expected = shares(sampler).astype("float64") / 50 * ids.size
    assert expected.sum() == pytest.approx(ids.size, rel=1e-5)
    expected *= ids.size / expected.sum()
    seen = np.bincount(ids.ravel(), minlength=ROWS)
    keep = expected > 0
    assert stats.chisquare(seen[keep], expected[keep]).pvalue > 1e-3


def test_distributions_are_their_equations():
    items = np.arange(ROWS - FIRST)
    uniform = shares(built(SAMPLERS["uniform"]()))[FIRST:] / 50
    np.testing.assert_allclose(uniform, 1 / len(items), rtol=1e-5)
    zipf = shares(built(SAMPLERS["log-uniform"]()))[FIRST:] / 50
    by_rank = np.log((items + 2) / (items + 1)) / np.log(len(items) + 1)
    np.testing.assert_allclose(zipf, by_rank, rtol=1e-5)
    popular = shares(built(SAMPLERS["popularity"]()))[FIRST:] / 50
    powers = COUNTS[FIRST:] ** 0.75
    np.testing.assert_allclose(popular, powers / powers.sum(), rtol=1e-5)


WEIGHTINGS = {
    "long-tailed": lambda rng, n: 1 + rng.pareto(0.5, n) * (rng.random(n) < 0.8),
    # Sums of these are equal, and masses are the mean: columns are filled to the brim.
    "equal": lambda rng, n: np.ones(n),
    "equal, and none for two": lambda rng, n: np.r_[0, 0, np.ones(n)],
    "small whole numbers": lambda rng, n: np.r_[1, rng.integers(0, 5, n)],
    "a first one of the mean": lambda rng, n: np.r_[2, np.arange(n) % 5],
}


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_an_alias_table_holds_its_distribution(weighting):
    for n in (*range(1, 130), 1000, 1024):
        weights = WEIGHTINGS[weighting](np.random.default_rng(n), n)
        shares = weights / weights.sum()
        kept, alias = alias_table(shares)
        assert ((kept >= 0) & (kept <= 1)).all()
        held = (kept + np.bincount(alias, 1 - kept, minlength=len(kept))) / len(kept)
        np.testing.assert_allclose(held, shares, atol=1e-12)


def test_a_zipf_law_reaches_every_item_of_a_large_catalogue():
    rows, first = 10_000_002, 2
    sampler = samplers.LogUniformSampler(1_000_000, seed=1)
    sampler.build(Head(), rows, first)
    ids = drawn(sampler, 1).ravel()
    tail = ids[ids > rows // 2] - rows // 2
    # By its equation, log(2) / log(V + 1) of all are in the upper half, about alike.
    expected = np.log(2) / np.log(rows - first + 1)
    np.testing.assert_allclose(len(tail) / len(ids), expected, rtol=0.02)
    assert stats.chisquare(np.bincount(tail % 64, minlength=64)).pvalue > 1e-3
    # Of 43,000 draws from 5 million, few are of one item.
    assert len(np.unique(tail)) > 0.99 * len(tail)


def test_an_item_that_counts_nothing_is_never_drawn():
    counts = COUNTS.copy()
    counts[FIRST::2] = 0
    sampler = built(samplers.PopularitySampler(counts, 0.0, negatives=2000, seed=3))
    assert set(drawn(sampler, 1).ravel()) == set(range(FIRST + 1, ROWS, 2))
    log_counts = ops.convert_to_numpy(sampler.log_counts(np.int32([FIRST]), WEIGHTS))
    assert log_counts[0] == -np.inf


@pytest.mark.parametrize("kind", ["popularity", "in-batch", "mixed"])
def test_without_counts_nothing_is_trained_until_weights_with_them_are_there(kind):
    made = {
        "popularity": samplers.PopularitySampler(COUNTS, negatives=5),
        "in-batch": samplers.InBatchSampler(COUNTS),
        "mixed": samplers.MixedSampler(
            [samplers.UniformSampler(3), samplers.InBatchSampler(COUNTS)]
        ),
    }[kind]
    head, other = Head(), Head()
    made.build(head, ROWS, FIRST)
    made.check()
    again = type(made).from_config(made.get_config())
    again.build(other, ROWS, FIRST)
    with pytest.raises(ValueError, match="no counts to train with"):
        again.check()
    other.set_weights(head.get_weights())
    again.check()
    np.testing.assert_allclose(shares(again), shares(made), rtol=1e-6)


def test_a_batch_without_counts_needs_none_where_nothing_is_corrected():
    built(samplers.InBatchSampler()).check()


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "float64"])
def test_what_is_drawn_does_not_depend_on_the_precision(policy):
    plain = built(SAMPLERS["popularity"]())
    sampler = SAMPLERS["popularity"]()
    sampler.build(Head(dtype=policy), ROWS, FIRST)
    np.testing.assert_array_equal(drawn(sampler, 3), drawn(plain, 3))
    np.testing.assert_array_equal(shares(sampler), shares(plain))


def test_an_item_in_a_batch_that_counts_nothing_is_one_of_the_rarest():
    counts = COUNTS.copy()
    counts[FIRST] = 0
    sampler = built(samplers.InBatchSampler(counts))
    log_counts = ops.convert_to_numpy(sampler.log_counts(np.arange(ROWS), WEIGHTS))
    rarest = FIRST + np.argmin(COUNTS[FIRST:])
    assert log_counts[FIRST] == log_counts[rarest]
    assert np.isfinite(log_counts).all()


def test_a_batch_is_its_own_sample():
    weights = WEIGHTS.copy()
    weights[0] = 0
    sampler = built(samplers.InBatchSampler(COUNTS))
    ids = ops.convert_to_numpy(sampler.draw(TARGETS, weights))
    np.testing.assert_array_equal(ids[:-1], np.where(weights > 0, TARGETS, 0))
    assert ids[-1] == 0
    log_counts = ops.convert_to_numpy(sampler.log_counts(TARGETS, weights))
    share = COUNTS[TARGETS] / COUNTS[FIRST:].sum()
    np.testing.assert_allclose(log_counts, np.log(share * weights.sum()), rtol=1e-5)


def test_a_mixed_draw_counts_as_all_of_them_draw_it():
    parts = [samplers.InBatchSampler(COUNTS), SAMPLERS["log-uniform"]()]
    mixed = built(samplers.MixedSampler(parts))
    ids = ops.convert_to_numpy(mixed.draw(TARGETS, WEIGHTS))
    np.testing.assert_array_equal(ids[: len(TARGETS)], TARGETS)
    assert len(ids) == len(TARGETS) + 1 + 50
    both = sum(shares(part) for part in parts)
    np.testing.assert_allclose(shares(mixed), both, rtol=1e-4)


def test_samplers_come_back_from_their_configs():
    made = [SAMPLERS[kind](per_target=True) for kind in SAMPLERS]
    made += [samplers.InBatchSampler(COUNTS), samplers.InBatchSampler()]
    made.append(samplers.MixedSampler([made[3], samplers.UniformSampler(3)]))
    for sampler in made:
        config = keras.saving.serialize_keras_object(sampler)
        again = keras.saving.deserialize_keras_object(config)
        assert again.get_config() == sampler.get_config()


@pytest.mark.parametrize(
    "make",
    [samplers.PopularitySampler, samplers.InBatchSampler],
    ids=["drawn", "batch"],
)
def test_a_config_tells_counts_from_others(make):
    """By it a run tells that it is not the one that its checkpoint is of."""

    def config(counts):
        return samplers.MixedSampler([make(counts)]).get_config()

    assert config(COUNTS) == config(COUNTS.astype("float32").tolist())
    others = COUNTS.copy()
    others[[FIRST, FIRST + 1]] = others[[FIRST + 1, FIRST]]
    assert len({str(config(counts)) for counts in (COUNTS, others, None)}) == 3
    with pytest.raises(TypeError, match="it should be an array of numbers"):
        make({1: 5})


class Drawing:
    """What draws, and is no sampler."""

    def draw(self, targets, weights):
        return targets


@pytest.mark.parametrize("kind", [samplers.PopularitySampler, samplers.InBatchSampler])
@pytest.mark.parametrize(
    ("counts", "error", "why"),
    [
        (-COUNTS, ValueError, "counts has -7.0 for id 0"),
        (np.where(COUNTS > 500, np.nan, COUNTS), ValueError, "counts has nan for id 2"),
        (np.where(COUNTS > 500, np.inf, COUNTS), ValueError, "counts has inf for id 2"),
        (COUNTS[:, None], ValueError, "the shape"),
        (5, ValueError, "the shape"),
        (COUNTS + 1j, TypeError, "an array of numbers"),
        (COUNTS > 1, TypeError, "an array of numbers"),
        ([str(c) for c in COUNTS], TypeError, "an array of numbers"),
        (dict(enumerate(COUNTS)), TypeError, "an array of numbers"),
        ([[1, 2], [3]], TypeError, "an array of numbers"),
        (np.ma.masked_equal(COUNTS, 7), ValueError, "masked"),
    ],
)
def test_counts_that_are_none_are_refused_at_once(kind, counts, error, why):
    with pytest.raises(error, match=why):
        kind(counts)


@pytest.mark.parametrize(
    ("make", "error", "why"),
    [
        (lambda: samplers.UniformSampler(0), ValueError, "negatives is 0"),
        (lambda: samplers.UniformSampler(True), TypeError, "negatives is True"),
        (lambda: SampledSoftmax("all"), TypeError, "negatives is 'all'"),
        (
            lambda: built(samplers.PopularitySampler(COUNTS[1:])),
            ValueError,
            "39 counts, but the table has 40 rows",
        ),
        (
            lambda: samplers.InBatchSampler(COUNTS, corrected=False),
            ValueError,
            "leave one of them out",
        ),
        (lambda: samplers.MixedSampler([]), ValueError, "samplers is empty"),
        (lambda: samplers.MixedSampler(None), TypeError, "samplers is None"),
        (lambda: samplers.MixedSampler(4), TypeError, "samplers is 4"),
        (
            lambda: samplers.MixedSampler(samplers.UniformSampler(3)),
            TypeError,
            "it should be a list",
        ),
        (lambda: SampledSoftmax(samplers.UniformSampler), TypeError, "is a class"),
        (lambda: SampledSoftmax(Drawing()), TypeError, "Drawing is none"),
        (
            lambda: built(samplers.PopularitySampler(COUNTS * 0)),
            ValueError,
            "0 for all items",
        ),
        (
            lambda: samplers.MixedSampler([samplers.UniformSampler(3, True)]),
            ValueError,
            "a UniformSampler, draws for each target",
        ),
        (
            lambda: SampledSoftmax(samplers.InBatchSampler()),
            ValueError,
            "InBatchSampler does not know how often",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, error, why):
    with pytest.raises(error, match=why):
        make()
