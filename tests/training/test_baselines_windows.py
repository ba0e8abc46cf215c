"""What baselines take as windows, batches and arguments, and what they refuse."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.schema import ColumnSchema, Domain, Schema
from keras_t4r.training.baselines import (
    STAN,
    Baseline,
    Markov,
    Popularity,
    SessionPopularity,
    VSkNN,
    standard_baselines,
)

COMMON = {"item_column": "item_id", "cardinality": 12}
SESSIONS = [[2, 3, 4], [3, 5], [4, 3, 6, 7]]
BATCH = np.array([[3, 4, 0], [7, 0, 0]])


@pytest.fixture(autouse=True)
def fresh_session():
    """Counting needs no Keras session; setting one up takes longer than the test."""


def table(sessions, kind=None, **columns):
    items = pa.array(sessions, kind or pa.list_(pa.int64()))
    return pa.table({"item_id": items, **columns})


def predict(window, cls=Markov, **options):
    return cls(**COMMON, **options).update(window).predict(BATCH)


def test_the_standard_set_holds_every_baseline_with_the_arguments_given():
    baselines = standard_baselines(**COMMON, half_life=8.0, exclude_seen=True)
    kinds = {type(baseline) for baseline in baselines.values()}
    assert kinds == {Popularity, SessionPopularity, Markov, VSkNN, STAN}
    assert baselines["Popularity"].half_life == 2.0
    assert baselines["STAN"].half_life == 8.0
    assert all(baseline.exclude_seen for baseline in baselines.values())
    still = standard_baselines(**COMMON, half_life=None).values()
    assert all(baseline.decay == 1.0 for baseline in still)


def test_every_form_of_a_window_says_the_same(tmp_path):
    whole = tmp_path / "whole.parquet"
    pq.write_table(table(SESSIONS), whole)
    (tmp_path / "parts").mkdir()
    first, second = tmp_path / "parts" / "a.parquet", tmp_path / "parts" / "b.parquet"
    pq.write_table(table(SESSIONS[:1]), first)
    pq.write_table(table(SESSIONS[1:]), second)
    expected = predict(table(SESSIONS))
    for window in (
        whole,
        str(whole),
        tmp_path / "parts",
        str(tmp_path / "parts" / "*.parquet"),
        [first, str(second)],
        table(SESSIONS, pa.large_list(pa.int32())),
        pa.concat_tables([table(SESSIONS[:2]), table(SESSIONS[2:])]),
        pa.concat_tables([table([[9, 9]]), table(SESSIONS)]).slice(1),
    ):
        np.testing.assert_array_equal(predict(window), expected)


def test_a_schema_names_the_column_and_its_domain():
    schema = Schema(
        [
            ColumnSchema(
                "sku",
                "int64",
                tags=("item_id", "categorical"),
                domain=Domain(name="sku", min=2, max=11),
                value_count=(0, 20),
            )
        ]
    )
    window = pa.table({"sku": SESSIONS})
    baseline = SessionPopularity(schema).update(window)
    assert (baseline.item_column, baseline.cardinality, baseline.first_id) == (
        "sku",
        12,
        2,
    )
    np.testing.assert_array_equal(
        baseline.predict({"sku": BATCH, "other": None}),
        predict(table(SESSIONS), SessionPopularity),
    )


def test_a_domain_from_one_keeps_item_one():
    scores = predict(table([[1, 2], [1, 3]]), Popularity, first_id=1)
    assert scores[0].argmax() == 1 and scores[0, 0] == -np.inf


def test_lists_and_narrow_integers_are_batches_too():
    baseline = Markov(**COMMON).update(table(SESSIONS))
    expected = baseline.predict(BATCH)
    np.testing.assert_array_equal(baseline.predict(BATCH.tolist()), expected)
    np.testing.assert_array_equal(baseline.predict(BATCH.astype("int32")), expected)
    assert baseline.predict(np.zeros((0, 3), int)).shape == (0, 12)


def test_an_empty_window_only_lets_time_pass():
    for cls in (Popularity, SessionPopularity, Markov, VSkNN, STAN):
        baseline = cls(**COMMON).update(table([]))
        scores = baseline.predict(BATCH)
        assert baseline.windows == 1 and (scores[:, 2:].max(axis=1) > -np.inf).all()


def test_stan_reads_starts_in_seconds_and_as_timestamps():
    day = 86_400
    seconds = [10 * day, 11 * day, 30 * day]
    stamps = pa.array([s * 1_000_000 for s in seconds], pa.timestamp("us", "UTC"))
    naive = pa.array(
        [datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=s) for s in seconds]
    )
    expected = predict(table(SESSIONS, start=pa.array(seconds)), STAN)
    for start in (stamps, naive, pa.array(seconds, pa.float64())):
        np.testing.assert_allclose(
            predict(table(SESSIONS, start=start), STAN), expected, rtol=1e-6
        )
    assert not np.allclose(predict(table(SESSIONS), STAN), expected)


def test_stored_sessions_are_ordered_by_start_and_capped():
    late_first = table(SESSIONS, start=pa.array([3.0e6, 1.0e6, 2.0e6]))
    kept = table([SESSIONS[2], SESSIONS[0]], start=pa.array([2.0e6, 3.0e6]))
    capped = predict(late_first, STAN, max_sessions=2)
    np.testing.assert_array_equal(capped > 0, predict(kept, STAN) > 0)
    assert not np.array_equal(capped > 0, predict(late_first, STAN) > 0)


def test_markov_looks_at_the_heaviest_transitions_only():
    sessions = [[2, 8], [2, 9], [2, 10], [2, 8], [9, 3]]
    baseline = Markov(**COMMON, max_targets=2).update(table(sessions))
    assert np.flatnonzero(baseline.predict([[2]])[0] > 0).tolist() == [8, 9]
    scores = baseline.update(table([[2, 10], [2, 10]])).predict([[2]])[0]
    assert np.flatnonzero(scores > 0).tolist() == [8, 10]


def test_only_the_most_recent_candidates_vote():
    sessions = [[2, 8], [2, 9], [2, 10]]
    baseline = VSkNN(**COMMON, sample_size=2).update(table(sessions))
    scores = baseline.predict([[2]])[0]
    assert (scores[[9, 10]] > 0).all() and scores[8] < 0
    nearest = VSkNN(**COMMON, k=1).update(table(sessions)).predict([[2]])[0]
    assert np.flatnonzero(nearest > 0).tolist() == [10]


@pytest.mark.parametrize(
    "window, error, match",
    [
        (pa.table({"x": [1]}), ValueError, "no column 'item_id'; it has \\['x'\\]"),
        (pa.table({"item_id": [1]}), TypeError, "must be a list of encoded item ids"),
        (table([[0.5]], pa.list_(pa.float32())), TypeError, "list<.*float"),
        (table([[2], None]), ValueError, "row 1: the session is null"),
        (table([[2], [], [3, None]]), ValueError, "row 2: an item is null"),
        (table([[2], [12]]), ValueError, "row 1: item id 12 is outside"),
        (table([[2]], start=["noon"]), TypeError, "'start' must hold seconds"),
        (table([[2]], start=[float("nan")]), ValueError, "'start', row 0"),
        ([], ValueError, "list of paths is empty"),
        (7, TypeError, "must be a pyarrow.Table, or the path"),
        ("nowhere/x.parquet", FileNotFoundError, "no file or folder"),
    ],
)
def test_a_bad_window_gets_one_sentence_and_teaches_nothing(window, error, match):
    baseline = Markov(**COMMON).update(table(SESSIONS))
    before = baseline.predict(BATCH)
    with pytest.raises(error, match=match):
        baseline.update(window)
    assert baseline.windows == 1
    np.testing.assert_array_equal(baseline.predict(BATCH), before)


def test_a_bad_file_is_named(tmp_path):
    path = tmp_path / "cut.parquet"
    pq.write_table(table(SESSIONS), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"cut\.parquet cannot be read as parquet"):
        Markov(**COMMON).update(path)
    pq.write_table(pa.table({"sku": [1]}), path)
    with pytest.raises(ValueError, match=r"cut\.parquet' has no column 'item_id'"):
        Markov(**COMMON).update(path)


def test_starts_in_only_some_windows_are_refused(tmp_path):
    with_start = table(SESSIONS, start=pa.array([1.0, 2.0, 3.0]))
    baseline = STAN(**COMMON).update(with_start)
    with pytest.raises(ValueError, match="Only some windows have the column 'start'"):
        baseline.update(table(SESSIONS))
    pq.write_table(with_start, tmp_path / "a.parquet")
    pq.write_table(table(SESSIONS), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="Only some files"):
        baseline.update(tmp_path)
    assert baseline.windows == 1


@pytest.mark.parametrize(
    "batch, error, match",
    [
        ({"sku": BATCH}, ValueError, "no column 'item_id'; it has \\['sku'\\]"),
        ([2, 3], ValueError, r"shape \(batch, time\); got \(2,\)"),
        ([[2, 3], [4]], ValueError, "rectangular"),
        ([[2.5, 3.0]], TypeError, "integer ids; got float64"),
        ([[2, 12]], ValueError, "row 0: item id 12"),
    ],
)
def test_a_bad_batch_gets_one_sentence(batch, error, match):
    baseline = Markov(**COMMON).update(table(SESSIONS))
    with pytest.raises(error, match=match):
        baseline.predict(batch)


@pytest.mark.parametrize(
    "cls, options, match",
    [
        (Baseline, {"cardinality": None}, "schema, or both"),
        (Popularity, {"first_id": 12}, "first_id is 12; it should be 11 or less"),
        (VSkNN, {"weighting": "cubic"}, "^weighting is 'cubic'; it should be one of"),
        (VSkNN, {"vote_weighting": None}, "^vote_weighting is None"),
        (Popularity, {"schema": "schema.pbtxt"}, "schema is 'schema.pbtxt'; it should"),
        (Popularity, {"item_column": 5}, "item_column is 5; it should be text"),
        (STAN, {"time_column": 5}, "time_column is 5; it should be text"),
        (STAN, {"time_column": ""}, "time_column is empty text"),
        (Popularity, {"item_column": ""}, "item_column is empty text"),
    ],
)
def test_a_bad_argument_gets_one_sentence(cls, options, match):
    with pytest.raises((ValueError, TypeError), match=match):
        cls(**{**COMMON, **options})


NAN, INF = float("nan"), float("inf")
TRUTH = ["False", "no", 2, 0, 1, NAN]
WHOLE = [0, -1, 2.5, True, "3", NAN]
NUMBER = [-1, True, "1", NAN, [1.0]]
BAD = {
    Popularity: {
        "cardinality": [*WHOLE, 1, 2**25],
        "first_id": WHOLE,
        "half_life": [0, *NUMBER],
        "repeat_last": TRUTH,
        "exclude_seen": [None, *TRUTH],
    },
    SessionPopularity: {"recency": [None, INF, *NUMBER]},
    Markov: {
        **{name: [None, *WHOLE] for name in ("history", "span", "max_targets")},
        **{name: [None, INF, *NUMBER] for name in ("normalize", "own_items")},
        "fading": [None, *NUMBER],
        "bidirectional": [None, *TRUTH],
    },
    VSkNN: {
        **{name: [None, *WHOLE] for name in ("k", "sample_size")},
        "max_sessions": [None, 2**25, *WHOLE],
        "idf": [None, INF, *NUMBER],
    },
    STAN: {
        **{name: [None, 0, *NUMBER] for name in ("decay_place", "decay_distance")},
        "decay_age": [0, *NUMBER],
    },
}


@pytest.mark.parametrize(
    "cls, name", [(cls, name) for cls, names in BAD.items() for name in names]
)
def test_numbers_and_truth_values_that_are_none_are_refused(cls, name):
    for value in BAD[cls][name]:
        with pytest.raises((ValueError, TypeError), match=f"^{name} is .*should be"):
            cls(**{**COMMON, name: value})
    if name == "half_life":
        with pytest.raises((ValueError, TypeError), match=r"^half_life is"):
            standard_baselines(**COMMON, half_life="2")


def test_numbers_of_numpy_are_taken():
    more = {"history": np.int64(2), "fading": np.float32(1.5), "half_life": INF}
    baseline = Markov(**COMMON, **more, bidirectional=np.True_)
    assert baseline.update(table(SESSIONS)).bidirectional is True
    assert np.isfinite(baseline.predict(BATCH)[:, 2:]).any()
