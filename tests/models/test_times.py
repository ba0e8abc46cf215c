"""A body that reads times, in a whole model: trained, evaluated, saved and asked."""

import keras
import numpy as np
import pytest
from seeds import set_seed

import keras_t4r as t4r


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Sessions of clicks; what comes next depends on how long the last pause was."""
    random = np.random.default_rng(0)
    rows = {"session_id": [], "timestamp": [], "item_id": []}
    now = 1_400_000_000
    for session in range(600):
        item = int(random.integers(10))
        for _ in range(4):
            rows["session_id"].append(session)
            rows["timestamp"].append(now)
            rows["item_id"].append(item)
            long = bool(random.integers(2))
            now += 5000 if long else 5
            item = (item + (3 if long else 1)) % 10
        # The last click's pause decides nothing that is known when it is asked.
        now += 60
    folder = tmp_path_factory.mktemp("times")
    etl = t4r.SessionETL(
        "session_id",
        "timestamp",
        "item_id",
        time_unit="s",
        time_features=["seconds"],
        recency=False,
        window="100d",
    )
    etl.fit(rows)
    etl.write(rows, folder / "sessions", progress=False)
    return etl, rows, folder / "sessions"


@pytest.fixture(scope="module")
def model(log):
    set_seed(2)
    _, _, folder = log
    schema = t4r.Schema.load(folder / "schema.pbtxt")
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=16)
    inputs = schema.inputs()
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    config = t4r.session_config("hstu", 16, n_head=2, n_layer=2, max_length=20)
    x = t4r.TransformerBlock(config)(x, times=inputs["seconds"])
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile("adam", metrics=[t4r.metrics.NDCG(3)])
    model.fit(t4r.KerasSequenceLoader(folder, schema, 32), epochs=1, verbose=0)
    return model


def test_times_are_inputs_and_no_features(model):
    assert set(model.input) == {"item_id", "seconds"}
    assert model.schema["seconds"].is_timestamp
    assert model.features.compute_output_spec(model.input)[0].shape[-1] == 16


def test_when_an_event_happened_changes_the_answer(log, model):
    etl, rows, _ = log
    first = {name: column[:3] for name, column in rows.items()}
    base = rows["timestamp"][0]
    asked = [
        model.recommend(etl.transform({**first, "timestamp": times}), k=5)["scores"]
        for times in ([base, base + 5, base + 10], [base, base + 5, base + 90_000])
    ]
    assert np.abs(asked[0] - asked[1]).max() > 1e-4
    # When it all happened is another matter: only pauses count.
    later = model.recommend(
        etl.transform({**first, "timestamp": [base + x for x in (60, 65, 70)]}), k=5
    )
    np.testing.assert_allclose(later["scores"], asked[0], atol=1e-5)


def test_it_evaluates_and_comes_back(log, model, tmp_path):
    etl, rows, folder = log
    loader = t4r.KerasSequenceLoader(folder, model.schema, 64, target="last")
    logs = model.evaluate(loader, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(loader, verbose=0, return_dict=True) == logs
    some = {name: column[:8] for name, column in rows.items()}
    np.testing.assert_allclose(
        again.recommend(etl.transform(some), k=5)["scores"],
        model.recommend(etl.transform(some), k=5)["scores"],
        atol=1e-6,
    )


def test_half_precision_takes_whole_seconds(log):
    from keras import ops

    _, _, folder = log
    schema = t4r.Schema.load(folder / "schema.pbtxt")
    keras.config.set_dtype_policy("mixed_bfloat16")
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=16)
    inputs = schema.inputs()
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    config = t4r.session_config("hstu", 16, n_head=2, n_layer=1)
    times = inputs["seconds"]

    def answer(times):
        y = t4r.TransformerBlock(config)(x, times=times)
        model = t4r.SessionModel(inputs, t4r.NextItemHead()(y, targets, table))
        ids = np.array([[2, 3, 4], [5, 6, 0]], "int32")
        return model({"item_id": ids, "seconds": np.float32([[1, 2, 9], [5, 6, 0]])})

    with pytest.raises(ValueError, match="hand them as integers"):
        answer(times)
    assert np.isfinite(answer(ops.cast(times, "int32"))[:, 2:]).all()
