"""Columns with several values an event, as features."""

import keras
import numpy as np
import pytest
from feature_cases import (
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

pytestmark = pytest.mark.backends

IMAGE = column("image", "embedding", dtype="float32", event_count=(3, 3))
GENRES = column("genres", "categorical", domain=t4r.Domain(1, 5), event_count=(0, 4))
SCHEMA = t4r.Schema((ITEM, IMAGE, GENRES, COUNTRY))


def sessions(rows=3, time=5):
    rng = np.random.default_rng(1)
    x = batch(ITEM, COUNTRY, rows=rows, time=time)
    x["image"] = rng.normal(size=(rows, time, 3)).astype("float32")
    bags = rng.integers(1, 6, (rows, time, 4))
    full = np.arange(4) < rng.integers(0, 5, (rows, time, 1))
    x["genres"] = np.where(full, bags, 0).astype("int32")
    for name in ("image", "genres"):
        x[name][0, 3:] = 0
    return x


def test_vectors_are_taken_as_they_are():
    x = sessions()
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=2)
    out = values(layer(x)[0])
    assert out.shape == (3, 5, 2 + 2 + 3 + 2)
    real = x["item_id"] > 0
    np.testing.assert_allclose(out[real][:, 4:7], x["image"][real], rtol=1e-6)


def test_vectors_are_normed_and_adapted():
    x = sessions()["image"]
    layer = t4r.GivenVectors(adaptor=5, layer_norm=True)
    out = values(layer(x))
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    expected = normed @ values(layer.adaptor.kernel)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-4)
    for norm in (False, True):
        large = t4r.GivenVectors(layer_norm=norm, dtype="mixed_float16")(x * 1e9)
        assert np.isfinite(values(large)).all()


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_bags_are_combined(combiner):
    x = sessions()
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=2, combiner=combiner)
    out = values(layer(x)[0])[..., 2:4]
    rows = values(layer.tables["genres"])
    count = np.maximum((x["genres"] > 0).sum(-1, keepdims=True), 1)
    over = {"sum": 1, "mean": count, "sqrtn": np.sqrt(count)}[combiner]
    expected = rows[x["genres"]].sum(axis=2) / over
    real = x["item_id"] > 0
    np.testing.assert_allclose(out[real], expected[real], rtol=1e-5, atol=1e-6)
    assert not out[(x["genres"] == 0).all(-1)].any()


def test_a_bag_shares_the_table_of_its_domain():
    kind = column("kind", "categorical", domain=t4r.Domain(1, 5, "genre"))
    genres = column(
        "genres", "categorical", domain=t4r.Domain(1, 5, "genre"), event_count=(0, 4)
    )
    schema = t4r.Schema((ITEM, kind, genres))
    layer = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=2, combiner="sum")
    x = {"item_id": np.array([[5]]), "kind": np.array([[3]])}
    x["genres"] = np.array([[[3, 0, 0, 0]]])
    out = values(layer(x)[0])[0, 0]
    np.testing.assert_array_equal(out[:2], out[4:])


@keras.saving.register_keras_serializable(package="features")
class Size(keras.layers.Layer):
    """A user's own: how many ids a bag has, and 1."""

    def call(self, ids):
        size = keras.ops.sum(keras.ops.cast(ids > 0, "float32"), axis=-1)
        return keras.ops.stack([size, keras.ops.ones_like(size)], axis=-1)


def test_encoders_of_bags():
    x = sessions()
    vectors = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    layer = t4r.SequenceEmbeddingFeatures(
        SCHEMA, embedding_dim=2, columns={"genres": t4r.PretrainedEmbedding(vectors)}
    )
    out = values(layer(x)[0])[..., 2:5]
    vectors[0] = 0
    count = np.maximum((x["genres"] > 0).sum(-1, keepdims=True), 1)
    expected = vectors[x["genres"]].sum(axis=2) / count
    real = x["item_id"] > 0
    np.testing.assert_allclose(out[real], expected[real], rtol=1e-5, atol=1e-6)
    layer = t4r.SequenceEmbeddingFeatures(
        SCHEMA, embedding_dim=2, columns={"genres": Size()}
    )
    out = values(layer(x)[0])[..., 2:4]
    size = (x["genres"] > 0).sum(-1)
    expected = np.stack([size, size > 0], axis=-1)
    np.testing.assert_array_equal(out[real], expected[real])


def test_in_a_whole_model(tmp_path):
    def columns():
        return {"image": t4r.GivenVectors(adaptor=4, layer_norm=True)}

    check_everything(
        SCHEMA, sessions(), tmp_path, columns, combiner={"genres": "sqrtn"}
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="combiner is 'max'"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, combiner="max")
    with pytest.raises(ValueError, match=r"combiner names \['image'\]"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, combiner={"image": "sum"})
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA)
    for name, shape in (("image", (None, 4)), ("genres", (None,))):
        inputs = SCHEMA.inputs()
        inputs[name] = keras.Input(shape, dtype=inputs[name].dtype)
        with pytest.raises(ValueError, match=f"Column '{name}' has . values an event"):
            layer(inputs)


def test_swap_noise_swaps_them_whole():
    x = sessions(rows=40)
    noisy = t4r.StochasticSwapNoise("item_id", rate=0.5, seed=1)(x, training=True)
    real = x["item_id"] > 0
    for name in ("image", "genres"):
        out = values(noisy[name])
        np.testing.assert_array_equal(out[~real], x[name][~real])
        there = {tuple(row) for row in x[name][real].tolist()}
        assert {tuple(row) for row in out[real].tolist()} <= there
        moved = (out[real] != x[name][real]).any(-1).mean()
        assert 0.3 < moved < 0.6


def test_sessions_are_asked_in_raw_ids():
    genres = t4r.Vocabulary(list("abcde"), first_id=1, name="genres")
    schema = t4r.Schema(SCHEMA.columns, vocabularies={"genres": genres})
    model = make_model(schema)
    x = sessions()
    x["country"] = np.array([1, 2, 3])
    lengths = [3, 5, 5]
    raw = {"country": [1, 2, 3]}
    raw["item_id"] = [
        r[:n].tolist() for r, n in zip(x["item_id"], lengths, strict=True)
    ]
    raw["image"] = [r[:n].tolist() for r, n in zip(x["image"], lengths, strict=True)]
    raw["genres"] = [
        [genres.decode(bag[bag > 0]).tolist() for bag in r[:n]]
        for r, n in zip(x["genres"], lengths, strict=True)
    ]
    scores = answers(model, x)
    asked = model.recommend(raw, k=3)
    best = np.argsort(-scores, axis=1)[:, :3]
    np.testing.assert_array_equal(asked["item_id"], best)
    raw["image"][1][0] = [1.0]
    with pytest.raises(ValueError, match="has an event of 1 values"):
        model.recommend(raw, k=3)
    raw["image"] = [[1.0] * n for n in lengths]
    with pytest.raises(TypeError, match="needs a list of values for each event"):
        model.recommend(raw, k=3)
