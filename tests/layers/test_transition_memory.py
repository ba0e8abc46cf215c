from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.training.baselines import Markov

pytestmark = pytest.mark.backends
ITEMS, WIDTH = 30, 6
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
    columns, values = (ops.convert_to_numpy(v) for v in memory(ids))
    m = np.zeros((len(ids), memory.cardinality))
    np.add.at(m, (np.arange(len(ids))[:, None], columns), values)
    return m


def loader(ids):
    rows = [row[row > 0].tolist() for row in ids]
    table = pa.table({"item_id": pa.array(rows, pa.list_(pa.int32()))})
    return t4r.KerasSequenceLoader(table, SCHEMA, 16)


def test_the_evidence_is_that_of_the_equation():
    memory = t4r.TransitionMemory(
        SCHEMA, span=2, bidirectional=False, normalize=1.0, history=2, own_items=3.0
    )
    # 2→3 twice, 3→4 twice, 2→4 two steps apart, 3→5 likewise.
    memory.update(np.array([[2, 3, 4, 0], [2, 3, 0, 0], [3, 4, 5, 0]], "int32"))
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
        memory.update(loader(ids))
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
        kept.append(evidence(memory.update(ids), np.array([[2]], "int32"))[0])
    few, everything = kept
    np.testing.assert_array_equal(few[3:5], everything[3:5])
    assert everything[5] > 0 == few[5]


def test_padding_is_nothing_and_unknown_items_say_nothing():
    memory = t4r.TransitionMemory(SCHEMA).update(sessions())
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


def make_head(**arguments):
    table = SimpleNamespace(cardinality=ITEMS + 2, first_id=2, dim=WIDTH)
    return t4r.NextItemHead(table, tied=False, **arguments)


def example(count=5):
    rng = np.random.default_rng(3)
    ids = sessions(count, seed=4)
    x = rng.normal(size=(*ids.shape, WIDTH)).astype("float32")
    targets = np.where(ids > 1, ids, 0)
    return {"x": x, "targets": targets, "item_ids": ids, "x_mask": ids > 0}


def test_the_head_answers_with_a_mixture_that_sums_to_one():
    memory = t4r.TransitionMemory(SCHEMA, strength=0.7).update(sessions())
    head, call = make_head(memory=memory), example()
    with memory.set_aside():
        alone = ops.convert_to_numpy(head(**call))
    together = ops.convert_to_numpy(head(**call))
    m = evidence(memory, call["item_ids"])
    q = np.exp(alone)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    mixed = (m + 0.7 * q) / (m.sum(axis=1, keepdims=True) + 0.7)
    np.testing.assert_allclose(np.exp(together), mixed, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(np.exp(together).sum(axis=1), 1, rtol=1e-5)
    assert np.isneginf(together[:, :2]).all()
    assert np.isfinite(together[:, 2:]).all()


def test_an_empty_memory_leaves_the_order_to_the_network():
    head, call = make_head(memory=t4r.TransitionMemory(SCHEMA)), example()
    scores = ops.convert_to_numpy(head(**call))[:, 2:]
    table = ops.convert_to_numpy(head.own_table)[2:]
    last = (call["item_ids"] > 0).sum(axis=1) - 1
    alone = call["x"][np.arange(5), last] @ table.T
    np.testing.assert_allclose(
        scores - scores[:, :1], alone - alone[:, :1], rtol=1e-4, atol=1e-4
    )


def test_nothing_of_the_memory_reaches_the_loss():
    memory = t4r.TransitionMemory(SCHEMA)
    head, call = make_head(memory=memory), example()

    def loss():
        head(**call, training=True)
        return float(ops.convert_to_numpy(head.losses[0]))

    before = loss()
    memory.update(sessions())
    assert loss() == before
    assert not memory.trainable_weights


def test_a_repeat_is_left_out_where_it_cannot_come():
    memory = t4r.TransitionMemory(SCHEMA).update(sessions())
    call = example()
    scores = make_head(memory=memory, repeat_last=False)(**call)
    scores = ops.convert_to_numpy(scores)
    ids = call["item_ids"]
    last = ids[np.arange(5), (ids > 0).sum(axis=1) - 1]
    assert np.isneginf(scores[np.arange(5), last]).all()


def test_what_cannot_be_learned_is_refused():
    memory = t4r.TransitionMemory(SCHEMA)
    table = pa.table({"item_id": pa.array([[2, 3, 4]], pa.list_(pa.int32()))})
    held_back = t4r.KerasSequenceLoader(table, SCHEMA, 1, target="last")
    with pytest.raises(ValueError, match="make it without target='last'"):
        memory.update(held_back)
    with pytest.raises(ValueError, match="ids from 2 to 99, but those of the memory"):
        memory.update(np.array([[2, 99]]))
    with pytest.raises(ValueError, match="from integer ids"):
        memory.update(np.array([[2.0, 3.0]]))
    assert not ops.convert_to_numpy(memory.count).any()
    assert not ops.convert_to_numpy(memory.total).any()


def test_bad_arguments_and_missing_items_are_refused():
    with pytest.raises(ValueError, match="needs the schema"):
        t4r.TransitionMemory()
    with pytest.raises(ValueError, match="span must be 1 or more, not 0"):
        t4r.TransitionMemory(SCHEMA, span=0)
    with pytest.raises(ValueError, match="strength must be positive, not 0"):
        t4r.TransitionMemory(SCHEMA, strength=0)
    with pytest.raises(ValueError, match="own_items must not be negative"):
        t4r.TransitionMemory(SCHEMA, own_items=-1)
    call = example()
    del call["item_ids"]
    with pytest.raises(ValueError, match="a memory needs the session's items"):
        make_head(memory=t4r.TransitionMemory(SCHEMA))(**call)
