"""Models of a mixed policy: what they answer, and what a file keeps of them."""

import indexed_models as models
import keras
import numpy as np
import pytest

import keras_t4r as t4r
from keras_t4r.retrieval import ExactIndex

pytestmark = pytest.mark.backends("torch")
SESSIONS = {"item_id": models.sessions(12, seed=9)}
FILLED = models.encoded(SESSIONS["item_id"])


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def test_an_index_answers_as_the_whole_catalogue(policy):
    """Whatever the policy of the process is when it is asked."""
    model = models.make_model((lambda schema: t4r.TransitionMemory(schema),))
    index, whole = ExactIndex.of(model), model.recommend(SESSIONS, k=5)
    for now in (policy, "float32"):
        keras.config.set_dtype_policy(now)
        found = model.recommend(SESSIONS, k=5, index=index)
        np.testing.assert_allclose(found["scores"], whole["scores"], atol=1e-4)
        assert (found["item_id"] == whole["item_id"]).mean() > 0.95


def test_times_beyond_half_precision_are_told_apart(policy):
    event = {"value_count": (1, 11)}
    seconds = t4r.ColumnSchema("seconds", "float32", ("timestamp",), **event)
    schema = t4r.Schema(
        [*models.schema_of(), seconds], vocabularies={"item_id": models.VOCABULARY}
    )
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(
        schema, embedding_dim=8, columns={"seconds": t4r.PeriodicTime(["day"])}
    )(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    scores = t4r.NextItemHead()(keras.layers.Dense(8)(x), targets, table)
    model = t4r.SessionModel(inputs, scores)
    ways = []
    for begin in (100_000.0, 140_000.0):
        times = [[begin + 60.0 * i for i in range(len(s))] for s in SESSIONS["item_id"]]
        found = model.recommend({**SESSIONS, "seconds": times}, k=5)["scores"]
        padded = np.zeros(FILLED.shape, "float32")
        for row, of_session in zip(padded, times, strict=True):
            row[: len(of_session)] = of_session
        scores = model.predict({"item_id": FILLED, "seconds": padded}, verbose=0)
        best = np.sort(np.asarray(scores, "float32"), axis=1)[:, :-6:-1]
        np.testing.assert_allclose(found, best, rtol=1e-5)
        ways.append(found)
    assert np.abs(ways[0] - ways[1]).max() > 1e-3


def test_a_file_keeps_how_the_loss_is_scaled(policy, tmp_path):
    model = models.make_model(fit=False)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit({"item_id": FILLED}, verbose=0)
    model.save(tmp_path / "model.keras")
    keras.config.set_dtype_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(model.optimizer)
    scaled = isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    for one, other in zip(
        loaded.optimizer.variables, model.optimizer.variables, strict=True
    ):
        one, other = map(keras.ops.convert_to_numpy, (one, other))
        np.testing.assert_array_equal(one, other)
