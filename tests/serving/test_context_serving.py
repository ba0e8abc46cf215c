"""Models with a context, exported and served: the same answers everywhere."""

import keras
import numpy as np
import pytest
from seeds import set_seed
from served_answers import assert_answers

import keras_t4r as t4r

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="a SavedModel is written on the TensorFlow backend only",
)
CONTEXT = ["country", "age"]
K = 6


@pytest.fixture(scope="module")
def clicks():
    random = np.random.default_rng(0)
    rows, sessions = 600, 120
    key = random.integers(0, sessions, rows)
    return {
        "session_id": key.tolist(),
        "timestamp": (1_396_310_400 + np.arange(rows) * 60).tolist(),
        "item_id": [f"item {item}" for item in random.integers(0, 40, rows)],
        # Of the session: the same in all its rows.
        "country": [("fr", "it", "jp")[k % 3] for k in key],
        "age": (20.0 + key % 50).tolist(),
    }


@pytest.fixture(scope="module")
def etl(clicks):
    etl = t4r.SessionETL(
        "session_id",
        "timestamp",
        "item_id",
        context_categorical=["country"],
        context_continuous=["age"],
        time_unit="s",
        recency=False,
        time_features=(),
    )
    return etl.fit(clicks)


@pytest.fixture(scope="module")
def model(etl, clicks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("context") / "sessions"
    etl.write(clicks, folder, progress=False)
    schema = t4r.Schema.load(folder / "schema.pbtxt")
    set_seed(2)
    inputs = schema.inputs()
    features = t4r.SequenceEmbeddingFeatures(schema.without(CONTEXT), 16)
    x, table = features(inputs)
    context = t4r.ContextFeatures(schema, CONTEXT, embedding_dim=8)(inputs)
    x, targets = t4r.MaskedLanguageModeling()(x, inputs[schema.item_id])
    config = t4r.session_config("bert", 16, n_head=2, n_layer=1, max_length=22)
    x = t4r.TransformerBlock(config)(t4r.ContextToken()(x, context))
    x = t4r.ContextFusion("latent-cross")(t4r.DropContextToken()(x), context)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(t4r.KerasSequenceLoader(folder, schema, 64), epochs=4, verbose=0)
    return model


def first(clicks, rows):
    return {name: values[:rows] for name, values in clicks.items()}


def test_the_context_has_its_say(model, etl, clicks):
    rows = first(clicks, 200)
    one = model.recommend(etl.transform(rows), k=K)
    other = dict(rows, country=["it"] * 200, age=[60.0] * 200)
    two = model.recommend(etl.transform(other), k=K)
    moved = np.abs(one["scores"] - two["scores"]).max(axis=1)
    assert (moved > 1e-4).mean() > 0.9


def test_raw_values_of_the_context_are_read_as_the_etl_reads_them(model, etl):
    assert model.vocabulary("country") == etl.vocabulary("country")


def test_a_saved_model_answers_as_recommend(model, etl, clicks, tmp_path):
    t4r.export_saved_model(model, tmp_path / "1", k=K)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    sessions = etl.transform(first(clicks, 100))
    expected = model.recommend(sessions, k=K)
    inputs = {}
    for column in model.schema:
        values = sessions[column.name].to_pylist()
        if column.is_list:
            width = max(map(len, values))
            values = [row + [0] * (width - len(row)) for row in values]
        dtype = tf.int32 if column.is_categorical else tf.float32
        inputs[column.name] = tf.constant(values, dtype)
    assert {name: x.shape.rank for name, x in inputs.items()} == {
        "item_id": 2,
        "country": 1,
        "age": 1,
    }
    answer = served(**inputs)
    items = np.char.decode(answer["item_id"].numpy().astype("S"), "utf-8")
    assert items.tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)


def test_triton_answers_as_recommend(triton, model, etl, clicks, tmp_path):
    t4r.export_tensorflow_ensemble(model, etl, "shop", tmp_path / "models", k=K)
    rows = first(clicks, 100)
    expected = model.recommend(etl.transform(rows), k=K)
    with t4r.TritonServer(tmp_path / "models", startup_timeout=300) as server:
        with t4r.TritonClient(server.http_url) as client:
            answers = client.recommend("shop", rows)
    assert_answers(answers, expected)
