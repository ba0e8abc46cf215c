"""A model whose memory knows everything, or nothing, of which item comes next."""

import keras
import numpy as np
import pyarrow as pa
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.training.tune_strength import tune_strength

pytestmark = pytest.mark.backends
ITEMS = 12
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
RING = (np.arange(60)[:, None] + np.arange(5)) % ITEMS + 2
WRONG = (np.arange(60)[:, None] + 7 * np.arange(5)) % ITEMS + 2


def loader(ids, target="last"):
    table = pa.table({"item_id": pa.array(ids.tolist(), pa.list_(pa.int32()))})
    return t4r.KerasSequenceLoader(table, SCHEMA, 16, target=target)


def make_model(memory, metrics=True):
    keras.utils.set_random_seed(2)
    features = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=8)
    inputs = SCHEMA.inputs()
    items = inputs["item_id"]
    x, targets = t4r.CausalLanguageModeling()(features(inputs), items)
    x = t4r.TransformerBlock(keras.layers.GRU(8, return_sequences=True))(x)
    head = t4r.NextItemHead(features.item_embedding, memory=memory)
    model = t4r.SessionModel(inputs, head(x, targets, item_ids=items))
    model.compile(
        keras.optimizers.Adam(2e-2), metrics=[t4r.metrics.NDCG(5)] if metrics else []
    )
    return model


@pytest.mark.parametrize("knows, start", [("memory", 10.0), ("network", 3.0)])
def test_strength_goes_to_the_side_that_knows(knows, start):
    memory = t4r.TransitionMemory(
        SCHEMA, start, history=1, own_items=0, bidirectional=False, span=1
    )
    model = make_model(memory)
    fitted, counted = (RING, WRONG) if knows == "network" else (WRONG, RING)
    model.fit(loader(fitted, None), epochs=25, verbose=0)
    memory.update(counted)
    before = model.evaluate(loader(RING), verbose=0, return_dict=True)["ndcg_5"]
    counts = ops.convert_to_numpy(memory.count)
    found = tune_strength(model, loader(RING), factor=4.0)
    assert found == (4 * start if knows == "network" else start / 4)
    assert found == float(memory.strength)
    after = model.evaluate(loader(RING), verbose=0, return_dict=True)["ndcg_5"]
    assert before < 0.9 < after
    np.testing.assert_array_equal(ops.convert_to_numpy(memory.count), counts)


def test_without_a_reason_the_strength_stays():
    memory = t4r.TransitionMemory(SCHEMA, strength=3.0)
    assert tune_strength(make_model(memory), loader(RING)) == 3.0


def test_strength_is_kept_by_set_aside_and_by_a_saved_model(tmp_path):
    memory = t4r.TransitionMemory(SCHEMA, strength=3.0)
    model = make_model(memory)
    memory.update(RING).strength.assign(0.25)
    with memory.set_aside():
        assert not ops.convert_to_numpy(memory.total).any()
    assert float(memory.strength) == 0.25
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert float(again.memory.strength) == 0.25
    x, _ = loader(RING)[0]
    np.testing.assert_allclose(
        again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5
    )


def test_what_cannot_be_tuned_is_refused():
    with pytest.raises(ValueError, match="no TransitionMemory"):
        tune_strength(make_model(None), loader(RING))
    model = make_model(t4r.TransitionMemory(SCHEMA), metrics=False)
    with pytest.raises(ValueError, match="no ranking metric"):
        tune_strength(model, loader(RING))
    with pytest.raises(ValueError, match="factor must be above 1, not 1"):
        tune_strength(model, loader(RING), factor=1)
