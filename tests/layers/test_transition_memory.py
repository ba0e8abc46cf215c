import inspect

import numpy as np
import pyarrow as pa
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.layers.memory import session_ids, transition_memory
from keras_t4r.layers.memory.transition_counts import count_transitions
from keras_t4r.training.baselines import Markov

pytestmark = pytest.mark.backends
ITEMS = 30
SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, ITEMS + 1),
            value_count=(1, 8),
        ),
    )
)


def sessions(count=80, seed=0):
    """Padded sessions of 1 to 8 items, some of them unknown (id 1)."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, ITEMS + 2, (count, 8)).astype("int32")
    return np.where(np.arange(8) < rng.integers(1, 9, (count, 1)), ids, 0)


def evidence(memory, ids):
    """What the memory says, added up by item: `(batch, cardinality)`."""
    columns, values = (ops.convert_to_numpy(v) for v in memory.evidence(ids))
    m = np.zeros((len(ids), memory.cardinality))
    np.add.at(m, (np.arange(len(ids))[:, None], columns), values)
    return m


def loader(ids, batch_size=16):
    rows = [row[row > 0].tolist() for row in ids]
    table = pa.table({"item_id": pa.array(rows, pa.list_(pa.int32()))})
    return t4r.KerasSequenceLoader(table, SCHEMA, batch_size)


def test_the_evidence_is_that_of_the_equation():
    memory = t4r.TransitionMemory(
        SCHEMA, span=2, bidirectional=False, normalize=1.0, history=2, own_items=3.0
    )
    # 2→3 twice, 3→4 twice, 2→4 two steps apart, 3→5 likewise.
    memory.adapt(np.array([[2, 3, 4, 0], [2, 3, 0, 0], [3, 4, 5, 0]], "int32"))
    m = evidence(memory, np.array([[2, 3, 0, 0]], "int32"))[0]
    fade = 2**-1.5
    wanted = np.zeros(ITEMS + 2)
    wanted[4] += 2 / 2.5  # from 3, the last item: 2 of 2.5
    wanted[5] += 0.5 / 2.5
    wanted[3] += fade * 2 / 2.5  # from 2, the one before
    wanted[4] += fade * 0.5 / 2.5
    wanted[2] += 3.0 * fade  # the session's own, but for the last
    np.testing.assert_allclose(m, wanted, rtol=1e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("half_life", [None, 2.0])
def test_it_counts_as_the_baseline_does(bidirectional, half_life):
    shared = {"span": 3, "bidirectional": bidirectional, "half_life": half_life}
    memory = t4r.TransitionMemory(SCHEMA, **shared)
    markov = Markov(SCHEMA, repeat_last=False, **shared)
    for seed in range(3):
        ids = sessions(seed=seed)
        memory.update_state(loader(ids))
        rows = [row[row > 0].tolist() for row in ids]
        markov.update(pa.table({"item_id": pa.array(rows, pa.list_(pa.int32()))}))
    test = sessions(seed=9)
    test[test == 1] = 2
    # The baseline leaves out the last item.
    last = test[np.arange(len(test)), (test > 0).sum(axis=1) - 1]
    m, scores = evidence(memory, test), np.maximum(markov.predict(test), 0)
    m[np.arange(len(test)), last] = 0
    np.testing.assert_allclose(m[:, 2:], scores[:, 2:], rtol=1e-4)


def test_neighbors_keeps_the_most_frequent_followers():
    ids = np.array([[2, 3], [2, 3], [2, 3], [2, 4], [2, 4], [2, 5]], "int32")
    kept = []
    for neighbors in (2, 30):
        memory = t4r.TransitionMemory(SCHEMA, neighbors=neighbors, own_items=0)
        kept.append(evidence(memory.adapt(ids), np.array([[2]], "int32"))[0])
    few, everything = kept
    np.testing.assert_array_equal(few[3:5], everything[3:5])
    assert everything[5] > 0 == few[5]


def test_padding_is_nothing_and_unknown_items_say_nothing():
    memory = t4r.TransitionMemory(SCHEMA).adapt(sessions())
    ids = sessions(seed=1)
    wide = np.pad(ids, ((0, 2), (0, 3)))
    m = evidence(memory, ids)
    np.testing.assert_allclose(evidence(memory, wide)[:-2], m, rtol=1e-6)
    assert not evidence(memory, wide)[-2:].any()
    assert not m[:, :2].any()
    unknown = np.array([[5, 1, 6, 1]], "int32")
    np.testing.assert_allclose(
        evidence(memory, unknown), evidence(memory, unknown[:, [0, 2]]), rtol=1e-6
    )


def example(count=5):
    """Scores of a network, and the items of its sessions."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(count, ITEMS + 2)).astype("float32")
    scores[:, :2] = -np.inf
    return scores, sessions(count, seed=4)


def answer(step, *call, **arguments):
    return ops.convert_to_numpy(step(*call, **arguments))


def softmax(scores):
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def test_it_answers_with_a_mixture_that_sums_to_one():
    memory = t4r.TransitionMemory(SCHEMA, strength=0.7).adapt(sessions())
    scores, items = example()
    together = answer(memory, scores, items)
    m, q = evidence(memory, items), softmax(scores)
    mixed = (m + 0.7 * q) / (m.sum(axis=1, keepdims=True) + 0.7)
    np.testing.assert_allclose(np.exp(together), mixed, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(np.exp(together).sum(axis=1), 1, rtol=1e-5)
    assert np.isneginf(together[:, :2]).all()
    assert np.isfinite(together[:, 2:]).all()


def test_an_id_that_cannot_come_stays_out_whatever_was_counted():
    memory = t4r.TransitionMemory(SCHEMA).adapt(sessions())
    scores, items = example()
    scores[:, 7] = -np.inf
    assert np.isneginf(answer(memory, scores, items)[:, 7]).all()


def test_an_empty_memory_changes_nothing():
    memory, (scores, items) = t4r.TransitionMemory(SCHEMA), example()
    np.testing.assert_array_equal(answer(memory, scores, items), scores)
    memory.adapt(sessions())
    together = answer(memory, scores, items)
    assert (together != scores)[:, 2:].all()
    with memory.set_aside():
        np.testing.assert_array_equal(answer(memory, scores, items), scores)
    np.testing.assert_array_equal(answer(memory, scores, items), together)
    memory.adapt(np.zeros((0, 4), "int32"))
    np.testing.assert_array_equal(answer(memory, scores, items), scores)


def test_at_an_infinite_strength_the_network_decides():
    scores, items = example()
    memory = t4r.TransitionMemory(SCHEMA, strength=float("inf")).adapt(sessions())
    together = answer(memory, scores, items)
    np.testing.assert_allclose(np.exp(together), softmax(scores), rtol=1e-5)


@pytest.mark.parametrize("width", [0, ITEMS + 2])
def test_in_training_scores_are_handed_on(width):
    memory, (scores, items) = t4r.TransitionMemory(SCHEMA).adapt(sessions()), example()
    scores = scores[:, :width]
    np.testing.assert_array_equal(answer(memory, scores, items, training=True), scores)
    assert not memory.trainable_weights and not memory.losses


def test_adapt_forgets_and_update_state_does_not():
    first, second = sessions(seed=0), sessions(seed=1)
    memory = t4r.TransitionMemory(SCHEMA).adapt(first).adapt(second)
    again = t4r.TransitionMemory(SCHEMA).adapt(second)
    both = t4r.TransitionMemory(SCHEMA).adapt(first).update_state(second)
    at_once = t4r.TransitionMemory(SCHEMA).adapt(np.concatenate([first, second]))
    for a, b in ((memory, again), (both, at_once)):
        np.testing.assert_allclose(
            evidence(a, sessions(seed=9)), evidence(b, sessions(seed=9)), rtol=1e-5
        )


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_counts_do_not_hang_on_how_sessions_come(monkeypatch, batch_size):
    ids = sessions()
    whole = t4r.TransitionMemory(SCHEMA).adapt(ids)
    monkeypatch.setattr(session_ids, "EVENTS_AT_ONCE", 50)
    parts = t4r.TransitionMemory(SCHEMA).adapt(loader(ids, batch_size))
    np.testing.assert_allclose(
        evidence(whole, sessions(seed=9)), evidence(parts, sessions(seed=9)), rtol=1e-5
    )


def test_batches_are_counted_at_once(monkeypatch):
    """Adding up a matrix a batch cost more than counting."""
    calls = []

    def count(*arguments):
        calls.append(arguments)
        return count_transitions(*arguments)

    monkeypatch.setattr(transition_memory, "count_transitions", count)
    t4r.TransitionMemory(SCHEMA).adapt(loader(sessions(), 4))
    assert len(calls) == 1


def test_the_share_of_one_rank_is_refused():
    rows = [row[row > 0].tolist() for row in sessions()]
    table = pa.table({"item_id": pa.array(rows, pa.list_(pa.int32()))})
    share = t4r.KerasSequenceLoader(table, SCHEMA, 16, rank=1, world_size=2)
    memory = t4r.TransitionMemory(SCHEMA)
    with pytest.raises(ValueError, match="rank 1 of 2 only"):
        memory.adapt(share)
    assert not ops.convert_to_numpy(memory.total).any()


def test_what_cannot_be_learned_is_refused():
    memory = t4r.TransitionMemory(SCHEMA).adapt(sessions())
    before = memory.get_weights()
    table = pa.table({"item_id": pa.array([[2, 3, 4]], pa.list_(pa.int32()))})
    held_back = t4r.KerasSequenceLoader(table, SCHEMA, 1, target="last")
    with pytest.raises(ValueError, match="make it without target='last'"):
        memory.adapt(held_back)
    table = pa.table({"item_id": pa.array([[2, 3], [4, 3], [2, 5]])})
    short = t4r.KerasSequenceLoader(table, SCHEMA, 2, drop_last=True)
    with pytest.raises(ValueError, match="leaves out 1 of 3 sessions, which fill no"):
        memory.adapt(short)
    for data in (None, "sessions/1", 5, table, table.to_pandas(), {"item_id": [[2]]}):
        kind = type(data).__name__
        with pytest.raises(TypeError, match=f"learns from a Keras.*; this is a {kind}"):
            memory.adapt(data)
    with pytest.raises(ValueError, match="sessions of several lengths: pad them"):
        memory.adapt([[2, 3], [4]])
    with pytest.raises(ValueError, match="ids from 2 to 99, but those of the memory"):
        memory.adapt(np.array([[2, 99]]))
    with pytest.raises(ValueError, match="from integer ids"):
        memory.update_state(np.array([[2.0, 3.0]]))
    for a, b in zip(before, memory.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_arguments_and_missing_items_are_refused():
    with pytest.raises(ValueError, match="needs the schema"):
        t4r.TransitionMemory()
    with pytest.raises(ValueError, match="needs the schema"):
        t4r.TransitionMemory(cardinality=9)
    with pytest.raises(ValueError, match="not both"):
        t4r.TransitionMemory(SCHEMA, cardinality=9)
    with pytest.raises(ValueError, match="must be above first_id, 2; it is 2"):
        t4r.TransitionMemory(cardinality=2, first_id=2)
    scores, items = example()
    with pytest.raises(ValueError, match="scores are those of 31 ids, but the memory"):
        t4r.TransitionMemory(SCHEMA)(scores[:, 1:], items)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("strength", [0, 1e-300, 1e300, np.nan, "1"]),
        ("fading", [-1, np.nan, None]),
        ("normalize", [-1, np.nan, np.inf, 5e3, True]),
        ("own_items", [-1, np.nan, np.inf, 1e39]),
        ("half_life", [0, np.nan, "2"]),
        ("history", [0, 2.5, "4"]),
        ("span", [0, 2.5, True]),
        ("neighbors", [0, 2.5, None]),
    ],
)
def test_numbers_that_make_scores_none_are_refused(name, values):
    for value in values:
        with pytest.raises((TypeError, ValueError), match=f"{name} is .*should be"):
            t4r.TransitionMemory(SCHEMA, **{name: value})


@pytest.mark.parametrize(
    "arguments",
    [
        {"strength": 1e-6, "normalize": 4, "own_items": 1e15, "fading": 0},
        {"strength": np.float32(2), "fading": 1e15, "history": np.int64(2)},
        {"strength": np.inf, "half_life": 1e-3, "fading": np.inf},
    ],
)
def test_numbers_at_the_ends_of_their_ranges_leave_scores_numbers(arguments):
    scores, items = example()
    memory = t4r.TransitionMemory(SCHEMA, **arguments).adapt(sessions(40))
    # Ids that are no items score minus infinity already.
    out = ops.convert_to_numpy(memory(scores, items))
    assert not np.isnan(out).any() and (np.isfinite(out) == np.isfinite(scores)).all()
    memory.update_state(sessions(2, seed=1))
    assert not np.isnan(ops.convert_to_numpy(memory(scores, items))).any()


def test_the_config_holds_arguments_and_nothing_else():
    memory = t4r.TransitionMemory(SCHEMA, strength=3.0, span=2, half_life=5.0)
    config = memory.get_config()
    assert set(config) - {"name", "trainable", "dtype"} < set(
        inspect.signature(t4r.TransitionMemory.__init__).parameters
    )
    again = t4r.TransitionMemory.from_config(config)
    assert again.get_config() == config
    assert float(ops.convert_to_numpy(again.strength)) == 3.0


def test_a_loader_that_leaves_nothing_out_is_learned():
    ids = sessions(32)
    rows = [row[row > 0].tolist() for row in ids]
    table = pa.table({"item_id": pa.array(rows, pa.list_(pa.int32()))})
    whole = t4r.KerasSequenceLoader(table, SCHEMA, 16, drop_last=True)
    memory = t4r.TransitionMemory(SCHEMA)
    assert ops.convert_to_numpy(memory.adapt(whole).total).any()
