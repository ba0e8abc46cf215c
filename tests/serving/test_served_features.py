"""A model of many kinds of columns, trained, saved and served."""

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


@pytest.fixture(scope="module")
def log():
    """Clicks with a category, a price and a time, in sessions of a country."""
    random = np.random.default_rng(0)
    rows = 600
    session = np.sort(random.integers(0, 120, rows))
    return {
        "session_id": session.tolist(),
        "timestamp": (1_396_310_400 + np.arange(rows) * 40).tolist(),
        "item_id": [f"item {i}" for i in random.integers(0, 30, rows)],
        "category": random.integers(0, 5, rows).tolist(),
        "price": random.normal(10.0, 3.0, rows).tolist(),
        "country": [("de", "fr", "it")[s % 3] for s in session],
    }


@pytest.fixture(scope="module")
def etl(log):
    return t4r.SessionETL(
        "session_id",
        "timestamp",
        "item_id",
        categorical=["category"],
        continuous=["price"],
        context_categorical=["country"],
        time_unit="s",
        time_features=["seconds"],
    ).fit(log)


@pytest.fixture(scope="module")
def model(etl, log, tmp_path_factory):
    set_seed(1)
    folder = tmp_path_factory.mktemp("log") / "sessions"
    etl.write(log, folder, progress=False)
    schema = t4r.Schema.load(folder / "schema.pbtxt")
    random = np.random.default_rng(1)
    ids = etl.vocabulary("item_id").values.to_list()
    vectors = {"id": ids, "vector": random.normal(size=(len(ids), 6))}
    vectors = t4r.vectors_by_id(vectors, schema, "item_id")
    kinds = random.integers(0, 4, len(vectors))
    content = [t4r.PretrainedEmbedding(vectors), t4r.ItemAttribute(kinds, dim=3)]
    (price,) = (c.name for c in schema.features if "price" in c.name)
    category, country = (schema[name].cardinality for name in ("category", "country"))
    features = t4r.SequenceEmbeddingFeatures(
        schema,
        d_output=16,
        embedding_dim="infer",
        aggregation="gated",
        columns={
            "item_id": t4r.ItemContent(content, dim=8, seed=1),
            "category": t4r.HashedEmbedding(category, 4, dim=3),
            "country": t4r.QuotientRemainderEmbedding(country, dim=3),
            price: t4r.SoftEmbedding(),
            "seconds": [t4r.TimeGap(t4r.SoftEmbedding()), t4r.PeriodicTime()],
        },
    )
    inputs = schema.inputs()
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    config = t4r.session_config("gpt2", 16, n_head=2, n_layer=1)
    x = t4r.TransformerBlock(config)(x)
    scores = t4r.NextItemHead(bias=False)(x, targets, table)
    model = t4r.SessionModel(inputs, scores)
    model.compile("adam", metrics=[t4r.metrics.NDCG(5)])
    model.fit(t4r.KerasSequenceLoader(folder, schema, 32), epochs=2, verbose=0)
    return model


def served(path, model, sessions):
    """What a SavedModel answers to sessions of the ETL."""
    inputs, width = {}, max(map(len, sessions["item_id"].to_pylist()))
    for column in model.schema:
        dtype = "int32" if column.is_categorical else "float32"
        values = sessions[column.name].to_pylist()
        if column.is_list:
            values = [row + [0] * (width - len(row)) for row in values]
        inputs[column.name] = tf.constant(np.array(values, dtype))
    return tf.saved_model.load(str(path)).signatures["serving_default"](**inputs)


def test_a_saved_model_answers_as_recommend(model, etl, log, tmp_path):
    sessions = etl.transform(log).slice(0, 20)
    t4r.export_saved_model(model, tmp_path / "1", k=5)
    answer = served(tmp_path / "1", model, sessions)
    expected = model.recommend(sessions, k=5)
    assert (
        answer["item_id"].numpy().astype(str).tolist() == expected["item_id"].tolist()
    )
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)


def test_a_keras_file_answers_the_same(model, etl, log, tmp_path):
    sessions = etl.transform(log).slice(0, 20)
    expected = model.recommend(sessions, k=5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    answer = loaded.recommend(sessions, k=5)
    assert answer["item_id"].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)


def test_triton_answers_as_recommend(triton, model, etl, log, tmp_path):
    folders = t4r.export_tensorflow_ensemble(model, etl, "shop", tmp_path, k=5)
    assert [folder.name for folder in folders] == ["shop", "shop_nvt", "shop_tf"]
    rows = {name: values[:100] for name, values in log.items()}
    expected = model.recommend(etl.transform(rows), k=5)
    with t4r.TritonServer(tmp_path, startup_timeout=300) as server:
        with t4r.TritonClient(server.http_url) as client:
            answers = client.recommend("shop", rows)
    assert_answers(answers, expected)


def test_vectors_are_served_as_inputs_and_not_by_an_ensemble(etl, tmp_path):
    schema, item = etl.schema, etl.schema["item_id"]
    image = t4r.ColumnSchema("image", "float32", ("embedding",), None, (1, 20), (3, 3))
    schema = t4r.Schema((item, image), vocabularies=schema.vocabularies)
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, d_output=8, embedding_dim=4)(
        inputs
    )
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(1, 3, 3)).astype("float32")
    t4r.export_saved_model(model, tmp_path / "1", k=3)
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    answer = serve(item_id=tf.constant([[3, 4, 5]]), image=tf.constant(images))
    asked = {"item_id": [[3, 4, 5]], "image": images.tolist()}
    expected = model.recommend(asked, k=3, encoded=True)
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)
    with pytest.raises(ValueError, match="'image', which the workflow does not make"):
        t4r.export_tensorflow_ensemble(model, etl, "shop", tmp_path / "2")
    assert not (tmp_path / "2").exists()
