import keras
import numpy as np
import pytest
from feature_cases import (
    AGE,
    COUNTRY,
    ITEM,
    SCORE,
    batch,
    check_everything,
    values,
)
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends

SCHEMA = t4r.Schema((ITEM, AGE, COUNTRY, SCORE))
NAMES = ["age", "country", "item_id", "score"]


def run(x, **options):
    """The layer, its features in the order of their names, and its output."""
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4, **options)
    out = values(layer(x)[0])
    parts = layer._fusion.even(layer._encode(x)[0])
    assert layer._fusion.names == NAMES
    return layer, [values(part) for part in parts], out


def test_stack_has_an_axis_of_features():
    x = batch(*SCHEMA)
    layer, parts, out = run(x, aggregation="stack")
    assert out.shape == (3, 5, 4, 4)
    real = x["item_id"] > 0
    np.testing.assert_allclose(out[real], np.stack(parts, axis=2)[real], rtol=1e-6)
    assert not out[~real].any()
    assert layer(SCHEMA.inputs())[0].shape == (None, None, 4, 4)
    with pytest.raises(ValueError, match="leave d_output out"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, d_output=8, aggregation="stack")


def test_gates_open_and_close_whole_features():
    x = batch(*SCHEMA)
    layer, parts, out = run(x, aggregation="gated")
    assert out.shape == (3, 5, 1 + 4 + 4 + 1)
    dense = layer._fusion.aggregation.gates
    dense.bias.assign([0.5, -1.0, 0.0, 2.0])
    joined = np.concatenate(parts, axis=-1)
    logits = joined @ values(dense.kernel) + values(dense.bias)
    gates = 1 / (1 + np.exp(-logits))
    gated = [gates[..., i : i + 1] * part for i, part in enumerate(parts)]
    expected = np.concatenate(gated, axis=-1)
    real = x["item_id"] > 0
    out = values(layer(x)[0])
    np.testing.assert_allclose(out[real], expected[real], rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable(package="features")
class Widest(keras.layers.Layer):
    """A user's own."""

    def call(self, features):
        return ops.maximum(features[1], features[2])

    def compute_output_shape(self, features_shape):
        return features_shape[1]


def test_a_layer_of_ones_own_aggregates():
    x = batch(*SCHEMA)
    _, parts, out = run(x, aggregation=Widest())
    real = x["item_id"] > 0
    np.testing.assert_allclose(out[real], np.maximum(*parts[1:3])[real], rtol=1e-6)
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, aggregation=Widest())
    again = t4r.SequenceEmbeddingFeatures.from_config(layer.get_config())
    assert isinstance(again.aggregation, Widest)


@pytest.mark.parametrize("aggregation", ["gated", "element-wise-sum-item-multi"])
def test_in_a_whole_model(aggregation, tmp_path):
    check_everything(
        SCHEMA, batch(*SCHEMA), tmp_path, dict, aggregation=aggregation, embedding_dim=4
    )


def test_features_are_dropped_out_one_by_one_in_training():
    x = batch(*SCHEMA, rows=200)
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4, feature_dropout=0.5)
    whole, dropped = (values(layer(x, training=t)[0]) for t in (False, True))
    real = x["item_id"] > 0
    kept = dropped[real] != 0
    assert 0.45 < kept.mean() < 0.55
    np.testing.assert_allclose(dropped[real][kept], 2 * whole[real][kept], rtol=1e-5)
    with pytest.raises(ValueError, match="feature_dropout is 1"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, feature_dropout=1)
