"""Each baseline against its equation in plain Python, and the shared promises."""

import math
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from keras_t4r.training.baselines import (
    STAN,
    Markov,
    Popularity,
    SessionPopularity,
    VSkNN,
)

ITEMS = 12
COMMON = {"item_column": "item_id", "cardinality": ITEMS, "repeat_last": True}
KINDS = {
    "popularity": (Popularity, {}),
    "session popularity": (SessionPopularity, {}),
    "markov": (Markov, {"half_life": 1.5}),
    "markov chain": (
        Markov,
        {"history": 1, "bidirectional": False, "own_items": 0.0, "normalize": 1.0},
    ),
    "markov span": (Markov, {"span": 3, "fading": 2.0, "normalize": 0.0}),
    "vsknn": (VSkNN, {"k": 7, "sample_size": 15}),
    "vsknn idf": (
        VSkNN,
        {
            "k": 50,
            "sample_size": 99,
            "weighting": "div",
            "vote_weighting": "linear",
            "idf": 0.7,
            "half_life": 1.0,
            "max_sessions": 60,
        },
    ),
    "stan": (STAN, {"k": 7, "sample_size": 15}),
    "stan, age matters": (STAN, {"k": 30, "decay_age": 0.5}),
}
everyone = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def fresh_session():
    """Counting needs no Keras session; setting one up takes longer than the test."""


def make(kind, **options):
    cls, defaults = KINDS[kind]
    return cls(**{**COMMON, **defaults, **options})


def random_windows(seed=0, windows=3, sessions=30, low=0):
    rng = np.random.default_rng(seed)
    return [
        [rng.integers(low, ITEMS, rng.integers(2, 7)).tolist() for _ in range(sessions)]
        for _ in range(windows)
    ]


def table(sessions, **columns):
    return pa.table({"item_id": pa.array(sessions, pa.list_(pa.int64())), **columns})


def learn(baseline, windows):
    for window in windows:
        baseline.update(table(window))
    return baseline


def padded(sessions, extra=0):
    ids = np.zeros((len(sessions), max(map(len, sessions)) + extra), np.int64)
    for row, session in enumerate(sessions):
        ids[row, : len(session)] = session
    return ids


def known(session):
    return [item for item in session if item >= 2]


def expected_popularity(b, windows, session):
    scores = defaultdict(float)
    for age, window in enumerate(reversed(windows)):
        for past in window:
            for item in known(past):
                scores[item] += b.decay**age
    return scores


def expected_session_popularity(b, windows, session):
    scores = defaultdict(float)
    last = {item: step for step, item in reversed(list(enumerate(session[::-1], 1)))}
    for item in session:
        scores[item] += 1
    for item, step in last.items():
        scores[item] += b.recency / step
    return scores


def expected_markov(b, windows, session):
    counts = defaultdict(float)
    for age, window in enumerate(reversed(windows)):
        for past in map(known, window):
            for i, source in enumerate(past):
                for j in range(i + 1, min(i + b.span, len(past) - 1) + 1):
                    weight = b.decay**age / (j - i)
                    counts[source, past[j]] += weight
                    if b.bidirectional:
                        counts[past[j], source] += weight
    sums = defaultdict(float)
    for (source, _), count in counts.items():
        sums[source] += count
    scores = defaultdict(float)
    for step, item in enumerate(session[::-1], 1):
        scores[item] += b.own_items / step**b.fading
        if step <= b.history:
            for (source, target), count in counts.items():
                if source == item:
                    share = count / sums[source] ** b.normalize
                    scores[target] += share / step**b.fading
    return scores


def neighbours(b, windows, session, similarity):
    stored = [
        (known(past), window)
        for window, sessions in enumerate(windows)
        for past in sessions
        if known(past)
    ][-b.max_sessions :]
    sample = [n for n in reversed(stored) if set(n[0]) & set(session)]
    sample = sample[: b.sample_size]
    found = [
        (similarity(n, w) * b.decay ** (len(windows) - 1 - w), n) for n, w in sample
    ]
    # Stable, so that the more recent of equals stands first; float32 as in the store.
    found.sort(key=lambda pair: -np.float32(pair[0]))
    return [pair for pair in found[: b.k] if pair[0] > 0], [n for n, _ in stored]


def expected_vsknn(b, windows, session):
    size = len(session)
    place = {item: p for p, item in enumerate(session, 1)}
    by_place = {"quadratic": lambda p: (p / size) ** 2, "div": lambda p: p / size}
    by_step = {"quadratic": lambda d: 1 / d**2, "linear": lambda d: 1 - 0.1 * d}
    found, stored = neighbours(
        b,
        windows,
        session,
        lambda n, _: sum(
            by_place[b.weighting](p) / size for i, p in place.items() if i in n
        ),
    )
    scores = defaultdict(float)
    for similarity, n in found:
        step = min(size - p + 1 for i, p in place.items() if i in n)
        for item in set(n):
            rarity = math.log(len(stored) / sum(item in m for m in stored))
            vote = by_step[b.vote_weighting](step) * (1 + b.idf * rarity)
            scores[item] += similarity * vote
    return scores


def expected_stan(b, windows, session):
    step = {item: d for d, item in reversed(list(enumerate(session[::-1], 1)))}
    found, _ = neighbours(
        b,
        windows,
        session,
        lambda n, window: (
            sum(math.exp(-(d - 1) / b.decay_place) for i, d in step.items() if i in n)
            / math.sqrt(len(session) * len(set(n)))
            * math.exp(-(len(windows) - 1 - window) / b.decay_age)
        ),
    )
    scores = defaultdict(float)
    for similarity, n in found:
        place = {item: p for p, item in enumerate(n)}
        anchor = min((d, i) for i, d in step.items() if i in n)[1]
        for item in set(n):
            distance = abs(place[item] - place[anchor])
            scores[item] += similarity * math.exp(-distance / b.decay_distance)
    return scores


EXPECTED = {
    Popularity: expected_popularity,
    SessionPopularity: expected_session_popularity,
    Markov: expected_markov,
    VSkNN: expected_vsknn,
    STAN: expected_stan,
}


@everyone
def test_scores_equal_the_equation(kind):
    windows = random_windows()
    baseline = learn(make(kind), windows)
    sessions = random_windows(seed=9, windows=1, sessions=40)[0]
    scores = baseline.predict({"item_id": padded(sessions)})
    assert scores.shape == (40, ITEMS) and scores.dtype == np.float32
    for row, session in enumerate(sessions):
        expected = EXPECTED[type(baseline)](baseline, windows, known(session))
        evidence = {i: s for i, s in expected.items() if s > 0}
        found = {i: scores[row, i] for i in range(ITEMS) if scores[row, i] > 0}
        assert found.keys() == evidence.keys()
        assert found == pytest.approx(evidence, rel=1e-5)


@everyone
def test_padding_on_either_axis_changes_nothing(kind):
    baseline = learn(make(kind), random_windows())
    ids = padded(random_windows(seed=3, windows=1, sessions=20)[0])
    plain = baseline.predict(ids)
    np.testing.assert_array_equal(
        baseline.predict(np.pad(ids, [(0, 5), (0, 9)]))[:20], plain
    )
    np.testing.assert_array_equal(baseline.predict(ids[7:8]), plain[7:8])
    np.testing.assert_array_equal(
        baseline.predict(np.tile(ids, (30, 1))), np.tile(plain, (30, 1))
    )


@everyone
def test_an_empty_history_gives_popularity(kind):
    windows = random_windows()
    popular = learn(
        Popularity(**COMMON, half_life=KINDS[kind][1].get("half_life")), windows
    )
    order = np.argsort(-popular.predict(np.zeros((1, 3), int)))
    for empty in (np.zeros((1, 3), int), np.array([[1, 1, 0]]), np.zeros((1, 0), int)):
        scores = learn(make(kind), windows).predict(empty)
        np.testing.assert_array_equal(np.argsort(-scores), order)


@everyone
def test_padding_and_the_unknown_item_are_never_recommended(kind):
    baseline = learn(make(kind), random_windows(low=0))
    scores = baseline.predict(padded(random_windows(seed=5)[0]))
    assert (scores[:, :2] == -np.inf).all()
    assert np.isfinite(scores[:, 2:]).all()


@everyone
def test_items_of_the_session_are_left_out_on_request(kind):
    windows = random_windows()
    ids = padded(random_windows(seed=5, windows=1)[0])
    plain = learn(make(kind), windows).predict(ids)
    rows, places = np.nonzero(ids)
    plain[rows, ids[rows, places]] = -np.inf
    scores = learn(make(kind, exclude_seen=True), windows).predict(ids)
    np.testing.assert_array_equal(scores, plain)


@everyone
def test_no_two_items_that_were_seen_tie(kind):
    baseline = learn(make(kind), random_windows(sessions=5))
    scores = baseline.predict(padded(random_windows(seed=5)[0]))
    seen = scores[:, baseline._seen_last >= 0]
    assert seen.shape[1] > 5
    assert all(len(set(row)) == len(row) for row in seen.tolist())


@pytest.mark.parametrize(
    "cls, options",
    [
        (Popularity, {}),
        (Markov, {"normalize": 0.0, "own_items": 0.0}),
        (VSkNN, {}),
        (STAN, {"decay_age": None}),
    ],
)
def test_evidence_halves_after_half_life_windows(cls, options):
    baseline = cls(**COMMON, **options, half_life=3.0)
    learn(baseline, random_windows())
    ids = padded(random_windows(seed=4, windows=1)[0])
    before = baseline.predict(ids)
    learn(baseline, [[], []])
    assert not np.allclose(baseline.predict(ids), before / 2)
    after = learn(baseline, [[]]).predict(ids)
    evidence = before > 0
    assert evidence.any()
    np.testing.assert_allclose(after[evidence], before[evidence] / 2, rtol=1e-5)


def test_without_half_life_nothing_is_forgotten():
    windows = random_windows()
    apart = learn(Popularity(**COMMON), windows)
    together = learn(Popularity(**COMMON), [windows[0] + windows[1] + windows[2]])
    empty = np.zeros((1, 1), int)
    np.testing.assert_array_equal(apart.predict(empty), together.predict(empty))


def test_ties_go_to_the_popular_item_and_never_past_a_higher_score():
    baseline = SessionPopularity(**COMMON, recency=0.0)
    baseline.update(table([[5, 6], [6, 7, 6, 4], [7, 4]]))
    scores = baseline.predict([[5, 6, 7, 4, 5]])[0]
    # 5 was clicked twice, the others once; of these 6 is popular, then 4: seen later.
    assert np.argsort(-scores)[:4].tolist() == [5, 6, 4, 7]
    np.testing.assert_allclose(scores[[5, 6, 4, 7]], [2, 1, 1, 1], rtol=1e-6)


def test_the_last_item_is_left_out_where_the_log_has_no_repeats():
    options = {**COMMON, "repeat_last": None}
    without = Markov(**options).update(table([[2, 3, 2, 4], [4, 3, 2]]))
    scores = without.predict([[2, 3, 0], [3, 1, 0], [1, 0, 0]])
    assert scores[0, 3] == -np.inf and scores[0, 2] > 0
    assert np.isfinite(scores[1:, 2:]).all()
    repeating = Markov(**options).update(table([[2, 3, 3, 4], [4, 3, 2]]))
    assert repeating.predict([[2, 3, 0]])[0, 3] > 0
    through_unknown = Markov(**options).update(table([[2, 3, 1, 3, 4]]))
    assert through_unknown.predict([[2, 3, 0]])[0, 3] == -np.inf


@everyone
def test_no_baseline_beats_chance_on_independent_sessions(kind):
    rng = np.random.default_rng(7)
    cardinality, held_out = 52, 4000
    baseline = make(kind, cardinality=cardinality)
    for _ in range(2):
        baseline.update(table(rng.integers(2, cardinality, (1500, 4)).tolist()))
    ids = rng.integers(2, cardinality, (held_out, 4))
    scores = baseline.predict(ids[:, :3])
    target = scores[np.arange(held_out), ids[:, 3]]
    hits = ((scores >= target[:, None]).sum(axis=1) <= 10).mean()
    chance = 10 / 50
    assert abs(hits - chance) < 4 * math.sqrt(chance * (1 - chance) / held_out)


@everyone
def test_an_id_outside_the_domain_is_refused_with_its_place(kind):
    baseline = learn(make(kind), random_windows())
    before = baseline.predict([[2, 3]])
    with pytest.raises(ValueError, match=r"'item_id', row 1: item id 12 .* 0\.\.11"):
        baseline.predict([[2, 3], [4, ITEMS]])
    with pytest.raises(ValueError, match="row 2: item id -3"):
        baseline.update(table([[2, 3], [4], [5, -3]]))
    np.testing.assert_array_equal(baseline.predict([[2, 3]]), before)


@everyone
def test_predicting_before_learning_says_so(kind):
    with pytest.raises(ValueError, match="learned nothing"):
        make(kind).predict([[2, 3]])
