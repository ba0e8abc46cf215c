import json

import keras
import numpy as np
import pytest
from feature_cases import (
    AGE,
    COUNTRY,
    ITEM,
    answers,
    batch,
    check_everything,
    column,
    make_model,
    values,
)

import keras_t4r as t4r
from keras_t4r.layers.features.columns import array_table

pytestmark = pytest.mark.backends

SCHEMA = t4r.Schema((ITEM, AGE, COUNTRY))
VECTORS = np.random.default_rng(5).normal(size=(21, 6)).astype("float32")


def features(encoder, schema=SCHEMA, **more):
    return t4r.SequenceEmbeddingFeatures(
        schema, embedding_dim=4, columns={"item_id": encoder}, **more
    )


def test_vectors_are_looked_up_and_scored_with():
    x = batch(*SCHEMA)
    layer = features(t4r.PretrainedEmbedding(VECTORS))
    out, table = layer(x)
    real = x["item_id"] > 0
    found = values(out)[real][:, 1 + 4 :]
    np.testing.assert_allclose(found, VECTORS[x["item_id"]][real], rtol=1e-6)
    np.testing.assert_array_equal(values(table)[1:], VECTORS[1:])
    assert not values(table)[0].any()
    assert layer(SCHEMA.inputs())[1].shape == (21, 6)


def test_an_adaptor_makes_the_table_that_heads_score_with():
    x = batch(*SCHEMA)
    encoder = t4r.PretrainedEmbedding(VECTORS, adaptor=3)
    layer = features(encoder)
    out, table = layer(x)
    encoder.adaptor.bias.assign([1.0, 2.0, 3.0])
    out, table = (values(y) for y in layer(x))
    expected = VECTORS @ values(encoder.adaptor.kernel) + [1, 2, 3]
    np.testing.assert_allclose(table[1:], expected[1:], rtol=1e-5)
    real = x["item_id"] > 0
    found = out[..., 5:]
    np.testing.assert_allclose(found[real], expected[x["item_id"]][real], rtol=1e-5)
    # Called for itself it adapts what is asked for only; padding is nothing.
    np.testing.assert_allclose(values(encoder(x["item_id"])), found, rtol=1e-5)
    assert not found[~real].any()


@pytest.mark.parametrize(
    ("trained", "adaptor"), [(False, None), (True, None), (False, 4), (True, 4)]
)
def test_what_is_trained_is_said(trained, adaptor):
    encoder = t4r.PretrainedEmbedding(VECTORS, train_vectors=trained, adaptor=adaptor)
    model = make_model(SCHEMA, columns={"item_id": encoder})
    before = [values(w).copy() for w in encoder.weights]
    model.fit(batch(*SCHEMA), verbose=0)
    changed = [
        not np.array_equal(values(w), b)
        for w, b in zip(encoder.weights, before, strict=True)
    ]
    names = [w.name for w in encoder.weights]
    assert changed == [trained if name == "given" else True for name in names]
    assert not values(encoder.given)[0].any()


def test_in_a_whole_model(tmp_path):
    def columns():
        item = t4r.PretrainedEmbedding(VECTORS, adaptor=4)
        dense = keras.layers.Dense(2, "tanh")
        own = t4r.PretrainedEmbedding(VECTORS[:5], train_vectors=True, adaptor=dense)
        return {"item_id": item, "bought": "item_id", "country": own}

    bought = column("bought", "categorical", domain=t4r.Domain(2, 20, "item"))
    schema = t4r.Schema((ITEM, COUNTRY, bought))

    check_everything(schema, batch(*schema), tmp_path, columns)


def test_configs_hold_no_vectors_and_files_do(tmp_path, monkeypatch):
    x = batch(*SCHEMA)
    model = make_model(
        SCHEMA, columns={"item_id": t4r.PretrainedEmbedding(VECTORS + 1)}
    )
    config = json.dumps(model.get_config())
    assert len(config) < 20_000
    before = answers(model, x)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    # As in another process, which does not hold the vectors.
    monkeypatch.setattr(array_table, "_LIVING", {})
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(answers(loaded, x), before, atol=1e-6)
    again = t4r.SessionModel.from_config(json.loads(config))
    again.compile("sgd", probe=False)
    for ask in (again.fit, again.predict):
        with pytest.raises(ValueError, match=r"vectors .* are not here"):
            ask(x)
    with pytest.raises(ValueError, match=r"vectors .* are not here"):
        again.recommend({"item_id": [[3]], "age": [[1.0]], "country": [1]}, k=2)
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(again.predict(x, verbose=0), before, atol=1e-6)


def test_vectors_come_from_a_file(tmp_path):
    np.save(tmp_path / "vectors.npy", VECTORS.astype("float64"))
    layer = t4r.PretrainedEmbedding(tmp_path / "vectors.npy")
    np.testing.assert_allclose(
        values(layer(np.array([[3, 0]])))[0], [VECTORS[3], np.zeros(6)], rtol=1e-6
    )
    with pytest.raises(FileNotFoundError, match="no file of vectors"):
        t4r.PretrainedEmbedding(tmp_path / "others.npy")


def broken(row):
    vectors = VECTORS.copy()
    vectors[row, 0] = np.inf
    return vectors


@pytest.mark.parametrize(
    ("vectors", "why"),
    [
        (np.ones((4, 2), "int32"), "holds int32"),
        (np.ones(4), "has shape"),
        (np.ones((1, 4)), "has shape"),
        (broken(7), "Row 7 of vectors"),
    ],
)
def test_vectors_that_are_none_are_refused(vectors, why):
    with pytest.raises((TypeError, ValueError), match=why):
        t4r.PretrainedEmbedding(vectors)


def test_a_table_of_another_size_is_refused():
    for rows, why in ((20, "give a row for each"), (22, "no more could be answered")):
        layer = features(t4r.PretrainedEmbedding(np.ones((rows, 2), "float32")))
        with pytest.raises(ValueError, match=why):
            layer(SCHEMA.inputs())
    with pytest.raises(TypeError, match="adaptor is 'wide'"):
        t4r.PretrainedEmbedding(VECTORS, adaptor="wide")


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has such gradients"
)
def test_a_trained_table_costs_what_a_batch_touches():
    import tensorflow as tf

    from keras_t4r.backend import rows_trained_alone

    encoder = t4r.PretrainedEmbedding(VECTORS, train_vectors=True)
    layer, x = features(encoder), batch(*SCHEMA)
    layer(x)
    with rows_trained_alone([encoder.given]), tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x)[0] ** 2)
    found = tape.gradient(loss, encoder.given.value)
    assert isinstance(found, tf.IndexedSlices)
