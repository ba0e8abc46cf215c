"""Soft embeddings, buckets, time gaps and periodic time."""

import keras
import numpy as np
import pytest
from feature_cases import (
    AGE,
    ITEM,
    SCORE,
    SECONDS,
    batch,
    check_everything,
    values,
)

import keras_t4r as t4r
from keras_t4r.layers.features.columns.numbers import Numbers

pytestmark = pytest.mark.backends

SCHEMA = t4r.Schema((ITEM, AGE, SCORE))
TIMES = t4r.Schema((ITEM, SECONDS))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_a_soft_embedding_is_a_mixture_of_rows():
    x = np.linspace(-2, 3, 6, dtype="float32").reshape(2, 3)
    layer = t4r.SoftEmbedding(n=5, dim=4, layer_norm=False)
    out = values(layer(x))
    choice = softmax(x[..., None] * values(layer.kernel) + values(layer.bias))
    np.testing.assert_allclose(out, choice @ values(layer.table), rtol=1e-5, atol=1e-6)
    normed = values(t4r.SoftEmbedding(n=5, dim=4)(x))
    assert np.abs(normed.mean(-1)).max() < 1e-5
    # Which rows a number chooses depends on the number.
    assert np.abs(out[0, 0] - out[1, 2]).max() > 1e-3


def test_a_soft_embedding_takes_numbers_beyond_half_precision():
    layer = t4r.SoftEmbedding(dtype="mixed_float16")
    out = layer(np.array([[1e9, -1e9]], "float32"))
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    assert np.isfinite(values(out)).all()


def test_a_number_by_itself_stays_one_in_half_precision():
    x = np.array([[70_000.0, -1e9, 0.1]], "float32")
    for dtype, largest in (("mixed_float16", 65_504), ("mixed_bfloat16", 1e9)):
        out = values(keras.ops.cast(Numbers(dtype=dtype)(x), "float32"))
        assert np.isfinite(out).all()
        assert -out[0, 1, 0] == pytest.approx(largest, rel=0.01)
        assert out[0, 2, 0] == pytest.approx(0.1, rel=0.01)


def test_long_gaps_stay_numbers_in_half_precision():
    layer = t4r.TimeGap(log=False, dtype="mixed_float16")
    gaps = values(layer(np.array([[0.0, 10.0, 500_000.0]], "float32")))
    np.testing.assert_array_equal(gaps[0, :, 0], [0, 10, 65_504])


def test_a_number_falls_into_a_bucket():
    layer = t4r.Buckets([0, 1, 10], dim=3)
    out = values(layer(np.array([[-5.0, 0.0, 0.5], [1.0, 9.9, 99.0]], "float32")))
    table = values(layer.table)
    assert table.shape == (4, 3)
    np.testing.assert_array_equal(out, table[[[0, 1, 1], [2, 2, 3]]])


@pytest.mark.parametrize("boundaries", [[], [1, 1], [2, 1], [float("nan")], 3])
def test_boundaries_that_are_none_are_refused(boundaries):
    with pytest.raises((TypeError, ValueError), match=r"boundaries.* should be"):
        t4r.Buckets(boundaries)


def test_a_gap_is_the_time_since_the_event_before():
    seconds = np.array([[100.0, 160.0, 160.0, 0.0]], "float32")
    out = values(t4r.TimeGap(log=False)(seconds))
    np.testing.assert_allclose(out[..., 0], [[0, 60, 0, 0]])
    out = values(t4r.TimeGap()(seconds))
    np.testing.assert_allclose(out[..., 0], np.log1p([[0, 60, 0, 0]]), rtol=1e-6)
    buckets = t4r.Buckets([1, 3600], dim=2)
    out = values(t4r.TimeGap(buckets, log=False)(seconds))
    np.testing.assert_array_equal(out, values(buckets.table)[[[0, 1, 0, 0]]])
    with pytest.raises(ValueError, match="takes a time an event"):
        t4r.TimeGap()(np.zeros(3, "float32"))


def test_times_come_round():
    day = 86_400
    layer = t4r.PeriodicTime(["day", 8 * day], utc_offset=3)
    times = np.array([[21 * 3600, 3 * 3600, 9 * day + 21 * 3600]], "float32")
    out = values(layer(times))
    shifted = times[..., None].astype("float64") + 3 * 3600
    angle = 2 * np.pi * shifted / [day, 8 * day]
    expected = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(1, 3, 4)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    np.testing.assert_allclose(out[0, 0, :2], [0, 1], atol=1e-5)
    np.testing.assert_allclose(
        out[0, 0], values(layer(times + 8 * day))[0, 0], atol=1e-4
    )


@pytest.mark.parametrize("periods", [[], ["month"], [0], [None]])
def test_periods_that_are_none_are_refused(periods):
    with pytest.raises((TypeError, ValueError), match=r"period.* should"):
        t4r.PeriodicTime(periods)


def test_numbers_in_a_whole_model(tmp_path):
    def columns():
        return {"age": t4r.SoftEmbedding(), "score": t4r.Buckets([-1, 0, 1])}

    check_everything(SCHEMA, batch(*SCHEMA), tmp_path, columns)


def test_times_in_a_whole_model(tmp_path):
    def columns():
        gap = t4r.TimeGap(t4r.SoftEmbedding(n=4, dim=4))
        return {"seconds": [gap, t4r.PeriodicTime(), t4r.TimeGap()]}

    model = check_everything(TIMES, batch(*TIMES), tmp_path, columns, layer_norm=True)
    encoder = model.features.columns["seconds"]
    assert encoder.compute_output_spec(model.input["seconds"]).shape[-1] == 4 + 4 + 1


def test_times_are_no_feature_unless_asked_for():
    layer = t4r.SequenceEmbeddingFeatures(TIMES, embedding_dim=4)
    assert layer(TIMES.inputs())[0].shape[-1] == 4


def test_a_later_time_changes_nothing_earlier():
    layer = t4r.SequenceEmbeddingFeatures(TIMES, columns={"seconds": t4r.TimeGap()})
    x = batch(*TIMES)
    before = values(layer(x)[0])
    x["seconds"][1, 3:] += 1000
    after = values(layer(x)[0])
    np.testing.assert_array_equal(before[1, :3], after[1, :3])
    assert np.abs(before[1, 3] - after[1, 3]).max() > 0


@keras.saving.register_keras_serializable(package="features")
class Squares(keras.layers.Layer):
    """A user's own encoder."""

    def call(self, x):
        return keras.ops.stack([x, x * x], axis=-1)


def test_encoders_of_ones_own_and_shared_ones(tmp_path):
    schema = t4r.Schema((ITEM, AGE, SCORE))

    def columns():
        return {"age": Squares(), "score": "age"}

    model = check_everything(schema, batch(*schema), tmp_path, columns)
    assert model.features.columns["age"] is model.features.columns["score"]
    again = t4r.SequenceEmbeddingFeatures.from_config(model.features.get_config())
    assert again.columns["age"] is again.columns["score"]
    same = Squares()
    layer = t4r.SequenceEmbeddingFeatures(schema, columns={"age": same, "score": same})
    config = layer.get_config()["columns"]
    assert config["score"] == "age" and isinstance(config["age"], dict)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"agee": Squares()}, "which is no column that the model reads"),
        ({"age": 3}, "should be a Keras layer"),
        ({"age": [Squares(), None]}, "should be a Keras layer"),
        ({"age": []}, "should be a Keras layer"),
        ({"age": "score"}, "which columns gives none"),
        ({"age": "score", "score": "age"}, "which columns gives none"),
        ({"item_id": keras.layers.Embedding(21, 4)}, "has no table for heads"),
    ],
)
def test_encoders_that_are_none_are_refused(columns, why):
    with pytest.raises((TypeError, ValueError), match=why):
        t4r.SequenceEmbeddingFeatures(SCHEMA, columns=columns)


def test_an_encoder_that_gives_no_vector_is_refused():
    layer = t4r.SequenceEmbeddingFeatures(
        SCHEMA, columns={"age": keras.layers.Activation("relu")}
    )
    with pytest.raises(ValueError, match="should give one vector an event"):
        layer(SCHEMA.inputs())


def test_an_id_of_zero_is_nothing_to_any_encoder():
    category = t4r.ColumnSchema(
        "kind", tags=("categorical",), domain=t4r.Domain(1, 3), value_count=(1, 6)
    )
    schema = t4r.Schema((ITEM, category))
    layer = t4r.SequenceEmbeddingFeatures(
        schema, embedding_dim=2, columns={"kind": keras.layers.Embedding(4, 3)}
    )
    x = batch(*schema)
    x["kind"][1, 0] = 0
    out = values(layer(x)[0])
    assert not out[1, 0, 2:].any() and out[1, 1, 2:].any()
