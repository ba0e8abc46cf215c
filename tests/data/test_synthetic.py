"""The synthetic log follows the distribution that its oracle states."""

import numpy as np
import polars as pl
import pytest

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.data.synthetic.synthetic_clicks import SyntheticClicks


def small(**options):
    return SyntheticClicks(
        **{
            **dict(
                num_sessions=60_000,
                num_items=12,
                num_categories=2,
                num_successors=3,
                num_days=1,
                max_length=4,
            ),
            **options,
        }
    )


def histories(log):
    """Encoded sessions and the vocabulary: lists of ids, id 2 the first raw id."""
    clicks = log.clicks()
    vocabulary = np.sort(log.raw_ids)
    ids = np.searchsorted(vocabulary, clicks["item_id"].to_numpy()) + 2
    clicks = clicks.with_columns(pl.Series("item_id", ids))
    return clicks.group_by("session_id", maintain_order=True).agg("item_id")[
        "item_id"
    ].to_list(), vocabulary


def padded(sessions, width):
    out = np.zeros((len(sessions), width), np.int64)
    for row, session in zip(out, sessions, strict=True):
        row[: len(session)] = session
    return out


def test_probabilities_sum_to_one_and_never_repeat_the_last_item():
    log = SyntheticClicks(num_sessions=300, seed=5)
    sessions, vocabulary = histories(log)
    x = padded(sessions, 22)
    p = log.oracle(vocabulary, day=3).predict({"item_id": x})
    assert p.dtype == np.float32 and p.shape == (300, 2002)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert (p >= 0).all() and not p[:, :2].any()
    last = [session[-1] for session in sessions]
    assert not p[np.arange(300), last].any()
    # The popularity of an item that is no successor is its share of the rest.
    assert (np.delete(p[0], [0, 1, last[0]]) > 0).all()


@pytest.mark.parametrize("weights", [(0.4, 0.2, 0.2, 0.2), (0, 0, 0.9, 0.1)])
def test_what_follows_a_history_is_as_frequent_as_its_probability(weights):
    log = small(weights=weights)
    sessions, vocabulary = histories(log)
    oracle = log.oracle(vocabulary, day=1)
    for length in (0, 1, 2, 3):
        longer = [s for s in sessions if len(s) > length]
        x = padded([s[:length] for s in longer], 4)
        y = np.array([s[length] for s in longer])
        p = oracle.predict({"item_id": x})
        # Chi-square over pairs of first item and next item, in units of its
        # standard deviation.
        group = x[:, 0] * (length > 0)
        observed = np.zeros((14, 14))
        np.add.at(observed, (group, y), 1)
        expected, variance = np.zeros((14, 14)), np.zeros((14, 14))
        np.add.at(expected, group, p)
        np.add.at(variance, group, p * (1 - p))
        enough = expected > 5
        z = (observed - expected)[enough] / np.sqrt(variance[enough])
        assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / enough.sum())
        assert not observed[expected == 0].any()


def test_no_other_distribution_explains_or_ranks_the_clicks_better():
    log = small()
    sessions, vocabulary = histories(log)
    sessions = [s for s in sessions if len(s) > 2]
    x = padded([s[:-1] for s in sessions], 4)
    y = np.array([s[-1] for s in sessions])

    def score(p):
        target = p[np.arange(len(y)), y]
        rank = (p > target[:, None]).sum(axis=1)
        return np.log(target).mean(), (1 / np.log2(rank + 2)).mean()

    true = log.oracle(vocabulary, day=1)
    p = true.predict(x)
    best = score(p)
    rng = np.random.default_rng(0)
    noisy = p * np.exp(rng.normal(0, 0.5, p.shape))
    others = [noisy / noisy.sum(axis=1, keepdims=True)]
    for other in (small(weights=(1, 1, 1, 1)), small(weights=(0.55, 0, 0.15, 0.3))):
        others.append(other.oracle(vocabulary, day=1).predict(x))
    for other in others:
        likelihood, ndcg = score(other)
        assert likelihood < best[0] - 0.005 and ndcg < best[1] - 0.0005


def test_the_last_item_and_the_ones_before_it_all_count():
    log = SyntheticClicks(num_sessions=1)
    oracle = log.oracle(log.raw_ids, day=1)
    rng = np.random.default_rng(1)
    x = rng.permutation(np.arange(2, 2002))[None, :6].copy()
    p = oracle.predict(x)
    for place in range(6):
        other = x.copy()
        other[0, place] = np.setdiff1d(np.arange(2, 2002), x)[place]
        assert np.abs(oracle.predict(other) - p).max() > 1e-3
    np.testing.assert_array_equal(oracle.predict(np.pad(x, ((0, 0), (0, 9)))), p)


def test_popularity_drifts_by_day_and_the_oracle_knows_it():
    log = small(num_days=15, num_sessions=150_000, max_length=1)
    clicks = log.clicks().with_columns(pl.col("timestamp").str.slice(8, 2).cast(int))
    assert np.abs(log.popularity(1) - log.popularity(15)).max() > 0.01
    for day in (1, 8, 15):
        items = clicks.filter(pl.col("timestamp") == day)["item_id"].to_numpy()
        counts = (items[:, None] == log.raw_ids).sum(axis=0)
        p = log.oracle(log.raw_ids, day).predict(np.zeros((1, 1), int))[0, 2:]
        np.testing.assert_allclose(p, log.popularity(day), rtol=1e-6)
        deviation = np.sqrt(len(items) * p * (1 - p))
        assert np.abs((counts - len(items) * p) / deviation).max() < 4.5


def test_the_file_has_yoochooses_format_and_goes_through_the_etl(tmp_path):
    log = SyntheticClicks(num_sessions=2000, num_items=300, seed=3)
    log.write(tmp_path / "clicks.csv")
    log.write(tmp_path / "clicks.csv.gz")
    first = (tmp_path / "clicks.csv").read_text().splitlines()[0].split(",")
    assert "S" in log.clicks()["category"]  # Text, as in the real log.
    assert len(first) == 4 and first[1].endswith("Z") and first[1][10] == "T"
    etl = SessionETL("session_id", "timestamp", "item_id", categorical=["category"])
    plain = ClickLog(tmp_path / "clicks.csv", columns=log.columns)
    sizes = etl.write(plain, tmp_path / "out", progress=False)
    assert list(sizes) == [1, 2, 3, 4, 5, 6]
    table = etl.transform(plain)
    assert table.equals(
        etl.transform(ClickLog(tmp_path / "clicks.csv.gz", columns=log.columns))
    )
    # No click is a repeat, none is cut off, and days do not mix.
    assert sum(table["length"].to_pylist()) == log.clicks().height
    assert max(table["length"].to_pylist()) == 20
    oracle = log.oracle(etl.vocabulary("item_id").values, day=6)
    x = padded(table["item_id"].to_pylist(), 20)
    p = oracle.predict({"item_id": x[:50]})
    assert p.shape[1] == etl.schema["item_id"].cardinality
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def test_items_outside_the_vocabulary_share_the_unknown_id():
    log = small()
    vocabulary = np.sort(log.raw_ids)
    whole = log.oracle(vocabulary, 1).predict([[5, 9, 0]])
    partial = log.oracle(vocabulary[:10], 1).predict([[5, 9, 0]])
    np.testing.assert_allclose(partial[0, 2:], whole[0, 2:12], rtol=1e-6)
    np.testing.assert_allclose(partial[0, 1], whole[0, 12:].sum(), rtol=1e-6)
    unknown = log.oracle(vocabulary[:10], 1).predict([[1, 0], [9, 1]])
    np.testing.assert_allclose(unknown.sum(axis=1), 1, rtol=1e-6)
    with pytest.raises(ValueError, match="cannot have"):
        log.oracle([7, 8], 1)


def test_the_same_seed_gives_the_same_log_and_another_seed_another():
    options = dict(num_sessions=500, num_items=200)
    log = SyntheticClicks(**options, seed=1)
    assert log.clicks().equals(log.clicks())
    assert log.clicks().equals(SyntheticClicks(**options, seed=1).clicks())
    assert not log.clicks().equals(SyntheticClicks(**options, seed=2).clicks())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(num_items=50), "successors"),
        (dict(weights=(1, 0, 0, 0)), "weights"),
        (dict(weights=(1, -1, 0, 1)), "weights"),
        (dict(weights=(1, 1, 1, float("nan"))), r"weights\[3\] is NaN"),
        (dict(weights=(float("inf"), 1, 1, 1)), r"weights\[0\] is inf"),
        (dict(weights=None), "weights is None"),
        (dict(num_categories=0), "num_categories is 0"),
        (dict(num_categories=-1), "num_categories is -1"),
        (dict(num_sessions=0), "num_sessions is 0"),
        (dict(num_items=2.5), "num_items is 2.5"),
        (dict(num_days=0), "num_days is 0"),
        (dict(mean_length=0.5), "mean_length is 0.5"),
        (dict(mean_length=float("nan")), "mean_length is NaN"),
        (dict(max_length=0), "max_length is 0"),
        (dict(num_successors=0), "num_successors is 0"),
        (dict(seed=-1), "seed is -1"),
        (dict(seed=1.5), "seed is 1.5"),
    ],
)
def test_impossible_logs_are_refused(options, word):
    with pytest.raises((TypeError, ValueError), match=word):
        SyntheticClicks(**options)
