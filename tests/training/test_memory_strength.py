"""A model whose memory knows everything, or nothing, of which item comes next."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.models.checks.divergence import check_finite
from keras_t4r.models.graph import find_layers
from keras_t4r.training import tune_memory
from keras_t4r.training.checkpoint import variables_of
from keras_t4r.training.memory_strength import MemoryTuner
from keras_t4r.training.steps_over_windows import StepsOverWindows

pytestmark = pytest.mark.backends
ITEMS = 12
NONE = float("inf")
SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, ITEMS + 1),
            value_count=(2, 5),
        ),
    )
)
# Item after item, round and round.
RING = ((np.arange(60)[:, None] + np.arange(5)) % ITEMS + 2).astype("int32")
WRONG = ((np.arange(60)[:, None] + 7 * np.arange(5)) % ITEMS + 2).astype("int32")


def loader(ids, target="last"):
    table = pa.table({"item_id": pa.array(ids.tolist(), pa.list_(pa.int32()))})
    return t4r.KerasSequenceLoader(table, SCHEMA, 16, target=target)


def make_memory(strength=3.0, learned=None, **arguments):
    arguments = {"history": 1, "own_items": 0, "bidirectional": False, **arguments}
    memory = t4r.TransitionMemory(SCHEMA, strength, span=1, **arguments)
    return memory if learned is None else memory.adapt(learned)


class NetworkScores(keras.layers.Layer):
    """Knows which item comes next, as surely as it is told: a network in one line."""

    def __init__(self, step=1, sure=3.0, **kwargs):
        super().__init__(**kwargs)
        self.step, self.sure = step, sure
        self.calls = 0

    def call(self, items):
        last = ops.max(ops.where(items > 0, ops.arange(ops.shape(items)[1]), 0), axis=1)
        item = ops.take_along_axis(items, last[:, None], axis=1)
        following = (item - 2 + self.step) % ITEMS + 2
        ids = ops.arange(ITEMS + 2, dtype=items.dtype)[None, :]
        scores = self.sure * ops.cast(ops.equal(ids, following), "float32")
        return ops.where(ids < 2, -float("inf"), scores)

    def compute_output_spec(self, items):
        return keras.KerasTensor((items.shape[0], ITEMS + 2), dtype="float32")


def make_model(memory=None, step=1, repeat=True, name="item_id"):
    items = keras.Input((None,), dtype="int32", name=name)
    scores = NetworkScores(step)(items)
    if memory is not None:
        scores = memory(scores, items)
    if not repeat:
        scores = t4r.NoRepeat()(scores, items)
    return keras.Model({name: items}, scores)


def value(model, sessions, metric):
    """The metric by the way that a model answers."""
    metric.reset_state()
    for i in range(len(sessions)):
        x, y = sessions[i]
        metric.update_state(y, model.predict_on_batch(x))
    return float(ops.convert_to_numpy(metric.result()))


@pytest.mark.parametrize("knows", ["memory", "network"])
def test_strength_goes_to_the_side_that_knows(knows):
    memory = make_memory(20.0, RING if knows == "memory" else WRONG)
    model = make_model(memory, step=7 if knows == "memory" else 1)
    before = memory.get_weights()[:3]
    found = tune_memory(model, loader(RING), metric=t4r.metrics.NDCG(1))
    assert found.strength == float(ops.convert_to_numpy(memory.strength))
    assert found.values[found.strength] == 1.0 == max(found.values.values())
    assert (found.strength < 20) == (knows == "memory")
    assert min(found.values.values()) == 0.0
    for a, b in zip(before, memory.get_weights()[:3], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("repeat", [True, False])
def test_each_value_is_what_the_model_answers_at_that_strength(repeat):
    half = np.concatenate([RING[:30], WRONG[:30]])
    memory = make_memory(learned=half, own_items=2.0, history=3)
    model, sessions = make_model(memory, step=7, repeat=repeat), loader(half)
    found = tune_memory(model, sessions, [0.5, 4, 30, NONE], metric=t4r.metrics.MRR(5))
    assert list(found.values) == [3.0, 0.5, 4.0, 30.0, NONE]
    assert found.metric == "mrr_5" and "no memory" in str(found)
    for strength, by_tuning in found.values.items():
        memory.strength.assign(strength)
        by_hand = value(model, sessions, t4r.metrics.MRR(5))
        assert by_tuning == pytest.approx(by_hand, abs=1e-6)
    alone = value(make_model(step=7, repeat=repeat), sessions, t4r.metrics.MRR(5))
    assert found.values[NONE] == pytest.approx(alone, abs=1e-6)


def test_the_network_scores_each_batch_once(monkeypatch):
    model, sessions, scored = make_model(make_memory(learned=RING)), loader(RING), []
    predict = keras.Model.predict_on_batch

    def count(self, x):
        if any(isinstance(layer, NetworkScores) for layer in self.layers):
            scored.append(self)
        return predict(self, x)

    monkeypatch.setattr(keras.Model, "predict_on_batch", count)
    tune_memory(model, sessions)
    assert len(scored) == len(sessions)


def test_without_a_reason_the_strength_stays():
    memory = make_memory(64.0)
    found = tune_memory(make_model(memory), loader(RING))
    assert found.strength == 64.0 == float(ops.convert_to_numpy(memory.strength))
    assert found.metric == "ndcg_20" and len(set(found.values.values())) == 1


class FirstIsNaN(t4r.metrics.NDCG):
    made = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.number = FirstIsNaN.made
        FirstIsNaN.made += 1

    def result(self):
        return super().result() + (float("nan") if self.number == 1 else 0.0)


def test_nan_is_never_the_best():
    memory = make_memory(20.0, RING)
    found = tune_memory(make_model(memory, step=7), loader(RING), metric=FirstIsNaN(1))
    assert np.isnan(found.values[20.0]) and found.values[found.strength] == 1.0


def test_by_a_network_that_diverged_nothing_is_chosen():
    memory = make_memory(20.0, RING)
    model = make_model(memory)
    (network,) = find_layers(model, NetworkScores)
    network.sure = float("nan")
    with pytest.raises(ValueError, match="the model has diverged"):
        tune_memory(model, loader(RING))
    over_windows = StepsOverWindows(model, MemoryTuner(model))
    before = [list(pair) for pair in over_windows.sums]
    over_windows.tune(loader(RING), t4r.metrics.NDCG(1))
    assert over_windows.sums == before
    assert float(ops.convert_to_numpy(memory.strength)) == 20.0


def test_a_strength_may_be_infinite_and_no_weight_nan():
    memory = make_memory(NONE)
    check_finite(make_model(memory))
    memory.strength.assign(float("nan"))
    with pytest.raises(ValueError, match="strength', which are not trained, hold NaN"):
        check_finite(make_model(memory))


def test_a_memory_within_a_model_within_a_model_is_found():
    memory = make_memory(20.0, RING)
    inner = make_model(memory, step=7, name="ids")
    items = keras.Input((None,), dtype="int32", name="item_id")
    middle = keras.Model([items], inner({"ids": items}))
    for outer in (
        keras.Model({"item_id": items}, middle([items])),
        keras.Model([items], t4r.NoRepeat()(middle([items]), items)),
    ):
        assert find_layers(outer, t4r.TransitionMemory) == [memory]
        memory.strength.assign(20.0)
        found = tune_memory(outer, loader(RING), [1], metric=t4r.metrics.NDCG(1))
        assert found.values == {20.0: 0.0, 1.0: 1.0}


def test_of_several_outputs_the_memorys_is_ranked():
    memory = make_memory(20.0, RING)
    items = keras.Input((None,), dtype="int32", name="item_id")
    other = NetworkScores()(items)
    outputs = {"a": other, "next": memory(NetworkScores(7)(items), items)}
    found = tune_memory(
        keras.Model({"item_id": items}, outputs),
        loader(RING),
        [1],
        metric=t4r.metrics.NDCG(1),
    )
    assert found.values == {20.0: 0.0, 1.0: 1.0}


@pytest.mark.backends("torch")
def test_a_session_model_is_tuned_and_saved_as_before(tmp_path):
    features = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=8)
    inputs = SCHEMA.inputs()
    items = inputs["item_id"]
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, items)
    x = t4r.TransformerBlock(keras.layers.GRU(8, return_sequences=True))(x)
    scores = t4r.NextItemHead()(x, targets, table)
    memory = make_memory(200.0)
    scores = t4r.NoRepeat()(memory(scores, items), items)
    model = t4r.SessionModel(inputs, scores)
    model.compile(keras.optimizers.Adam(2e-2), metrics=[t4r.metrics.NDCG(5)])
    model.fit(loader(WRONG, None), epochs=8, verbose=0)
    memory.adapt(RING)
    for _ in range(2):
        found = tune_memory(model, loader(RING))
    assert found.strength < 200 and found.metric == "ndcg_5"
    logs = model.evaluate(loader(RING), verbose=0, return_dict=True)
    assert logs["ndcg_5"] == pytest.approx(found.values[found.strength], abs=1e-6)
    model.fit(loader(WRONG, None), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    (back,) = find_layers(again, t4r.TransitionMemory)
    assert float(ops.convert_to_numpy(back.strength)) == found.strength
    x, _ = loader(RING)[0]
    np.testing.assert_allclose(
        again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5
    )


def test_a_small_window_does_not_decide_alone():
    memory = make_memory(20.0, RING)
    model = make_model(memory, step=7)
    memory_knows, network_knows = (loader(np.tile(x, (4, 1))) for x in (RING, WRONG))
    few = loader(WRONG[:6])
    metric = t4r.metrics.NDCG(1)

    def strength():
        return float(ops.convert_to_numpy(memory.strength))

    def over_windows():
        return StepsOverWindows(model, MemoryTuner(model))

    over = over_windows()
    over.tune(few, metric)
    assert strength() == 20.0 and over.memory is memory
    over.tune(memory_knows, metric)
    assert strength() < 20
    low, sums = strength(), over.sums
    over.tune(few, metric)
    assert strength() == low
    # By themselves the few say otherwise.
    alone = tune_memory(model, few, [s for s, _ in sums[1:]], metric=metric)
    assert alone.strength != low
    memory.strength.assign(low)
    expected = {s: 0.5 * v + 6 * {None: 1, **alone.values}[s] for s, v in sums}
    assert dict(over.sums) == pytest.approx(expected)
    # A run that goes on from there comes to the same, whoever set the strength.
    again = over_windows()
    again.sums = json.loads(json.dumps(sums))
    memory.strength.assign(30.0)
    again.tune(few, metric)
    assert strength() == low and dict(again.sums) == dict(map(tuple, over.sums))
    for _ in range(2):
        again.tune(network_knows, metric)
    assert strength() != low


def first_window(tmp_path, sessions):
    """A model with a memory, the file of a window, and what loads it and notes what."""
    features = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=8)
    inputs = SCHEMA.inputs()
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    scores = t4r.NextItemHead()(keras.layers.Dense(8)(x), targets, table)
    model = t4r.SessionModel(inputs, make_memory()(scores, inputs["item_id"]))
    model.compile("adam", metrics=[t4r.metrics.NDCG(5)])
    # A folder of this name is no column.
    path = tmp_path / "item_id=1" / "sessions.parquet"
    path.parent.mkdir()
    sessions = pa.array(sessions, pa.list_(pa.int32()))
    pq.write_table(pa.table({"item_id": sessions}), path)
    seen = []

    def to_fit(table, batch_size, **_):
        seen.append(table["item_id"].to_pylist())
        return t4r.KerasSequenceLoader(table, SCHEMA, batch_size)

    def to_evaluate(table):
        seen.append(table["item_id"].to_pylist())
        return t4r.KerasSequenceLoader(table, SCHEMA, 512, target="last")

    load = SimpleNamespace(item_id="item_id", to_fit=to_fit, to_evaluate=to_evaluate)
    return model, path, load, seen


TUNED_BY = {"metric": t4r.metrics.NDCG(1), "epochs": 1, "batch_size": 64, "seed": 0}


def test_a_trial_that_fails_leaves_the_model_as_it_was(tmp_path, monkeypatch):
    model, path, load, _ = first_window(tmp_path, np.tile(RING, (20, 1)).tolist())
    before = [ops.convert_to_numpy(v) for v in variables_of(model)]
    tuner = MemoryTuner(model)
    over = StepsOverWindows(model, tuner)

    def fail(*args, **kwargs):
        assert ops.convert_to_numpy(model.memory.total).any()
        raise MemoryError

    monkeypatch.setattr(tuner, "tune", fail)
    with pytest.raises(MemoryError):
        over.tune_first(path, load, **TUNED_BY)
    for variable, value in zip(variables_of(model), before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_what_is_held_back_of_a_window_is_like_the_rest(tmp_path):
    # Files may be in order of the sessions' lengths; one of an event cannot be ranked.
    sessions = [RING[0][: 1 + i // 300].tolist() for i in range(1500)]
    model, path, load, seen = first_window(tmp_path, sessions)
    StepsOverWindows(model, MemoryTuner(model)).tune_first(path, load, **TUNED_BY)
    counted, fit, ranked = seen
    assert counted == fit and sorted(fit + ranked) == sorted(sessions)
    counts = np.bincount([len(x) for x in ranked])
    assert counts[:2].tolist() == [0, 0] and (counts[2:] == 30).all()


def test_strength_is_kept_by_set_aside():
    memory = make_memory(learned=RING)
    memory.strength.assign(0.25)
    with memory.set_aside():
        assert not ops.convert_to_numpy(memory.total).any()
    assert float(ops.convert_to_numpy(memory.strength)) == 0.25


def test_what_cannot_be_tuned_is_refused():
    with pytest.raises(ValueError, match="no TransitionMemory"):
        tune_memory(make_model(), loader(RING))
    memory = make_memory(learned=RING)
    model = make_model(memory)
    with pytest.raises(ValueError, match="make the loader with target='last'"):
        tune_memory(model, loader(RING, None))
    for value in (0, 1e-300, float("nan")):
        with pytest.raises(ValueError, match="strength of the grid is"):
            tune_memory(model, loader(RING), [value, 1])
    for value in (5, "12", {1, 2}, {1: 2}, np.array(3)):
        with pytest.raises(TypeError, match=r"grid is .* should be a list of st"):
            tune_memory(model, loader(RING), value)
    for value in ("memory", t4r.TransitionMemory, keras.layers.Dense(2)):
        with pytest.raises(TypeError, match=r"memory is .* model's TransitionMemory"):
            tune_memory(model, loader(RING), memory=value)
    with pytest.raises(ValueError, match="grid is empty"):
        tune_memory(model, loader(RING), [])
    for grid in ([-1], [True], ["1"]):
        with pytest.raises((ValueError, TypeError), match="strength of the grid is"):
            tune_memory(model, loader(RING), grid)
    less = keras.metrics.SparseCategoricalCrossentropy(name="entropy")
    with pytest.raises(ValueError, match="Of the metric 'entropy' less is better"):
        tune_memory(model, loader(RING), metric=less)
    with pytest.raises(TypeError, match="target is 5; it should be the name"):
        tune_memory(model, loader(RING), target=5)
    with pytest.raises(TypeError, match="The sessions are of type NoneType; give a"):
        tune_memory(model, None)
    with pytest.raises(TypeError, match="metric is 'x'; it should be a ranking metric"):
        tune_memory(model, loader(RING), metric="x")
    with pytest.raises(
        TypeError, match="The sessions are of type ndarray; give a Kera"
    ):
        tune_memory(model, RING)
    items = keras.Input((None,), dtype="int32", name="item_id")
    scores = NetworkScores()(items)
    again = make_memory()(memory(scores, items), items)
    with pytest.raises(ValueError, match="has 2 memories"):
        tune_memory(keras.Model(items, again), loader(RING))
    twice = keras.Model(items, memory(memory(scores, items), items))
    with pytest.raises(ValueError, match="is called 2 times"):
        tune_memory(twice, loader(RING))
    scores = memory(scores, items)
    both = keras.Model(items, [scores, t4r.NoRepeat()(scores, items)])
    with pytest.raises(ValueError, match="2 outputs of the model"):
        tune_memory(both, loader(RING))
    assert float(ops.convert_to_numpy(memory.strength)) == 3.0
