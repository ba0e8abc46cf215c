"""Sessions in which items come again by a rule that is known."""

import keras
import numpy as np
import pyarrow as pa
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.layers.heads.copy_mechanism import START, TERMS
from keras_t4r.training.copy_fit import CopyTuner

pytestmark = pytest.mark.backends("torch")
ITEMS, FIRST = 40, 2
SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(FIRST, ITEMS + FIRST - 1),
            value_count=(2, 12),
        ),
    )
)
TRUE = np.array([-0.5, -1.0, -3.0, 0.7, 0.0, 0.0])


class Alike(keras.layers.Layer):
    """Scores all items alike: a network that knows nothing."""

    score = 0.0

    def call(self, items):
        ids = ops.arange(ITEMS + FIRST)[None, :]
        score = ops.where(ids < FIRST, -float("inf"), self.score)
        return score + ops.zeros((ops.shape(items)[0], 1))

    def compute_output_spec(self, items):
        return keras.KerasTensor((items.shape[0], ITEMS + FIRST), dtype="float32")


def make_model(copy=None, name="item_id"):
    items = keras.Input((None,), dtype="int32", name=name)
    scores = Alike()(items)
    return keras.Model({name: items}, scores if copy is None else copy(scores, items))


def sessions(n, a=TRUE, seed=0):
    """Random events, and a last one as a mechanism with coefficients `a` has it."""
    rng = np.random.default_rng(seed)
    copy = t4r.CopyMechanism()
    copy.set_coefficients(a)
    items = rng.integers(FIRST, FIRST + 8, (n, 11)).astype("int32")
    items *= np.arange(11) < rng.integers(1, 12, n)[:, None]
    p = np.exp(ops.convert_to_numpy(make_model(copy)({"item_id": items})))
    p = np.cumsum(p.astype("float64"), axis=1)
    last = (p < rng.random((n, 1)) * p[:, -1:]).sum(1)
    return [[*s[s > 0].tolist(), int(y)] for s, y in zip(items, last, strict=True)]


def loader(ids, target="last"):
    table = pa.table({"item_id": pa.array(ids, pa.list_(pa.int32()))})
    return t4r.KerasSequenceLoader(table, SCHEMA, 256, target=target)


@pytest.mark.backends("jax")
def test_the_rule_is_found():
    copy = t4r.CopyMechanism()
    found = t4r.tune_copy(make_model(copy), loader(sessions(6000)))
    a = ops.convert_to_numpy(copy.coefficients)
    assert list(found.coefficients) == list(TERMS) and found.sessions == 6000
    np.testing.assert_allclose(list(found.coefficients.values()), a, rtol=1e-6)
    # Of length and variety the sessions say little; all else within its error.
    np.testing.assert_allclose(a[:4], TRUE[:4], atol=0.5)
    assert found.after > found.before == pytest.approx(-np.log(ITEMS), abs=1e-6)
    assert "6000 sessions" in str(found) and "distance" in str(found)


def test_what_is_told_is_the_models_own_likelihood():
    copy = t4r.CopyMechanism()
    model, data = make_model(copy), loader(sessions(300))
    found = t4r.tune_copy(model, data)
    total = 0.0
    for i in range(len(data)):
        x, y = data[i]
        scores = ops.convert_to_numpy(model.predict_on_batch(x))
        total += scores[np.arange(len(y)), y].sum()
    assert found.after == pytest.approx(total / 300, abs=1e-5)
    better = [*found.coefficients.values()]
    for change in np.eye(6) * 0.5:
        copy.set_coefficients(better + change)
        # It is a maximum: it is found again from elsewhere, but for the prior's pull.
        again = t4r.tune_copy(model, data)
        assert again.after == pytest.approx(found.after, abs=5e-3)


def test_a_network_that_diverged_is_refused(monkeypatch):
    monkeypatch.setattr(Alike, "score", float("nan"))
    copy = t4r.CopyMechanism()
    with pytest.raises(ValueError, match="the model has diverged"):
        t4r.tune_copy(make_model(copy), loader([[3, 4, 3]]))
    assert not ops.convert_to_numpy(copy.fitted)


def test_few_sessions_change_little():
    copy = t4r.CopyMechanism()
    t4r.tune_copy(make_model(copy), loader(sessions(3)))
    np.testing.assert_allclose(copy.coefficients, START, atol=0.5)
    copy.set_coefficients(TRUE)
    t4r.tune_copy(make_model(copy), loader(sessions(3)))
    np.testing.assert_allclose(copy.coefficients, TRUE, atol=0.5)


def test_sessions_without_repeats_turn_it_off():
    rng = np.random.default_rng(0)
    ids = [rng.permutation(ITEMS)[:6] + FIRST for _ in range(500)]
    found = t4r.tune_copy(make_model(t4r.CopyMechanism()), loader(ids))
    assert found.after == pytest.approx(found.before, abs=0.02)


def test_a_mechanism_within_a_model_within_a_model_is_found():
    copy = t4r.CopyMechanism()
    inner = make_model(copy, name="ids")
    items = keras.Input((None,), dtype="int32", name="item_id")
    middle = keras.Model([items], inner({"ids": items}))
    outer = keras.Model({"item_id": items}, t4r.NoRepeat()(middle([items]), items))
    data = loader(sessions(200))
    found = t4r.tune_copy(outer, data)
    alone = t4r.tune_copy(make_model(t4r.CopyMechanism()), data)
    assert found.coefficients == pytest.approx(alone.coefficients, abs=1e-4)


def test_a_session_model_is_tuned_saved_and_evaluated_so(tmp_path):
    inputs = SCHEMA.inputs()
    items = inputs["item_id"]
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=8)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, items)
    x = t4r.TransformerBlock(keras.layers.GRU(8, return_sequences=True))(x)
    copy = t4r.CopyMechanism()
    scores = copy(t4r.NextItemHead()(x, targets, table), items)
    model = t4r.SessionModel(inputs, t4r.TransitionMemory(SCHEMA)(scores, items))
    model.compile(keras.optimizers.Adam(1e-2), metrics=[t4r.metrics.NDCG(5)])
    model.fit(loader(sessions(300), None), epochs=1, verbose=0)
    held_back = loader(sessions(300, seed=1))
    before = model.evaluate(held_back, verbose=0, return_dict=True)
    found = t4r.tune_copy(model, held_back)
    assert found.after > found.before
    after = model.evaluate(held_back, verbose=0, return_dict=True)
    assert after["ndcg_5"] > before["ndcg_5"] + 0.1
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x, _ = held_back[0]
    np.testing.assert_allclose(
        again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5
    )


def test_what_cannot_be_tuned_is_refused():
    with pytest.raises(ValueError, match="no CopyMechanism to tune"):
        t4r.tune_copy(make_model(), loader(sessions(3)))
    model = make_model(t4r.CopyMechanism())
    with pytest.raises(TypeError, match="give a KerasSequenceLoader"):
        t4r.tune_copy(model, np.ones((3, 4)))
    for value in ("copy", t4r.CopyMechanism, keras.layers.Dense(2)):
        with pytest.raises(TypeError, match=r"copy is .* be the model's CopyMechanism"):
            t4r.tune_copy(model, loader(sessions(3)), copy=value)
    with pytest.raises(TypeError, match="target is 5; it should be the name"):
        t4r.tune_copy(model, loader(sessions(3)), target=5)
    with pytest.raises(ValueError, match="make the loader with target='last'"):
        t4r.tune_copy(model, loader(sessions(3), None))
    with pytest.raises(TypeError, match="copy is 5; it should be the model's Copy"):
        t4r.tune_copy(model, loader(sessions(3)), copy=5)
    with pytest.raises(TypeError, match="target is 5; it should be the name"):
        t4r.tune_copy(model, loader(sessions(3)), target=5)
    items = keras.Input((None,), dtype="int32", name="item_id")
    one, other = t4r.CopyMechanism(name="one"), t4r.CopyMechanism(name="other")
    both = keras.Model({"item_id": items}, other(one(Alike()(items), items), items))
    with pytest.raises(ValueError, match="2 copy mechanisms, 'one', 'other': say"):
        t4r.tune_copy(both, loader(sessions(3)))
    assert t4r.tune_copy(both, loader(sessions(3)), copy=one).sessions == 3
    assert not ops.convert_to_numpy(other.fitted)


def test_a_last_item_that_cannot_be_answered_says_nothing():
    copy = t4r.CopyMechanism()
    items = keras.Input((None,), dtype="int32", name="item_id")
    hidden = t4r.NoRepeat("session")(Alike()(items), items)
    tuner = CopyTuner(keras.Model({"item_id": items}, copy(hidden, items)))
    with pytest.raises(ValueError, match="No session's last item can be answered"):
        tuner.tune(loader([[3, 4, 3], [5, 5]]))
    assert not ops.convert_to_numpy(copy.fitted)
