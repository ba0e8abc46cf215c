import keras
import numpy as np
import pytest
from keras import ops
from seeds import set_seed

import keras_t4r as t4r

pytestmark = pytest.mark.backends


def column(name, *tags, domain=None, is_list=True, dtype="int64"):
    return t4r.ColumnSchema(name, dtype, tags, domain, (1, 6) if is_list else None)


SCHEMA = t4r.Schema(
    (
        column("item_id", "item_id", "categorical", domain=t4r.Domain(2, 20, "item")),
        column("bought", "categorical", domain=t4r.Domain(2, 20, "item")),
        column("age", "continuous", dtype="float32"),
        column("country", "categorical", domain=t4r.Domain(1, 4), is_list=False),
        column("score", "continuous", dtype="float32", is_list=False),
    )
)


def batch(rows=3, time=5, seed=0):
    rng = np.random.default_rng(seed)
    x = {
        "item_id": rng.integers(2, 21, (rows, time)).astype("int32"),
        "bought": rng.integers(2, 21, (rows, time)).astype("int32"),
        "age": rng.normal(size=(rows, time)).astype("float32"),
        "country": rng.integers(1, 5, rows).astype("int32"),
        "score": rng.normal(size=rows).astype("float32"),
    }
    x["item_id"][0, 3:] = 0
    return x


def call(layer, x):
    return ops.convert_to_numpy(layer(x)[0])


def test_concat_is_the_columns_in_order_of_their_names():
    x = batch()
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)
    out = call(layer, x)
    assert out.shape == (3, 5, 1 + 4 + 4 + 4 + 1)
    table = ops.convert_to_numpy(layer.tables["item"])
    country = ops.convert_to_numpy(layer.tables["country"])
    row, step = 1, 2
    expected = np.concatenate(
        [
            [x["age"][row, step]],
            table[x["bought"][row, step]],
            country[x["country"][row]],
            table[x["item_id"][row, step]],
            [x["score"][row]],
        ]
    )
    np.testing.assert_allclose(out[row, step], expected, rtol=1e-6)


def test_columns_of_one_domain_share_a_table():
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)
    layer(batch())
    assert sorted(layer.tables) == ["country", "item"]
    assert layer.tables["item"].shape == (21, 4)


def test_element_wise_aggregations():
    x = batch()
    for aggregation in ("element-wise-sum", "element-wise-sum-item-multi"):
        set_seed(1)
        layer = t4r.SequenceEmbeddingFeatures(
            SCHEMA, embedding_dim=4, aggregation=aggregation
        )
        out = call(layer, x)
        names, parts = layer._fusion.names, layer._fusion.even(layer._encode(x)[0])
        parts = dict(zip(names, map(ops.convert_to_numpy, parts), strict=True))
        item = parts.pop("item_id")
        others = sum(parts.values())
        expected = item + others if aggregation.endswith("sum") else item * others
        real = x["item_id"] > 0
        np.testing.assert_allclose(out[real], expected[real], rtol=1e-5, atol=1e-6)


def test_numbers_can_be_projected_together():
    layer = t4r.SequenceEmbeddingFeatures(
        SCHEMA, embedding_dim=4, continuous_projection=3, layer_norm=True, d_output=8
    )
    assert call(layer, batch()).shape == (3, 5, 8)
    kernel = layer._fusion.numbers_projection.kernel
    assert kernel.shape == (2, 3)


def test_layer_norm_does_not_make_a_lone_number_constant():
    x = batch()
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4, layer_norm=True)
    out = call(layer, x)
    real = x["item_id"] > 0
    np.testing.assert_allclose(out[..., 0][real], x["age"][real], rtol=1e-6)
    table = ops.convert_to_numpy(layer.tables["item"])
    bought = table[x["bought"][real]]
    centred = bought - bought.mean(-1, keepdims=True)
    expected = centred / np.sqrt(bought.var(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(out[real][:, 1:5], expected, rtol=1e-3, atol=1e-5)


def test_padding_is_zero_and_masked():
    x = batch()
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4, d_output=8)
    out, _ = layer(x)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(out._keras_mask), x["item_id"] != 0
    )
    assert not ops.convert_to_numpy(out)[0, 3:].any()
    assert not ops.convert_to_numpy(layer.tables["item"])[0].any()


def test_widths_can_differ_by_column_unless_they_share():
    dims = {"item_id": 4, "bought": 4, "country": 2}
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=dims)
    assert call(layer, batch()).shape[-1] == 1 + 4 + 2 + 4 + 1
    with pytest.raises(ValueError, match="shares the table 'item'"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim={**dims, "bought": 5})
    layer = t4r.SequenceEmbeddingFeatures(
        SCHEMA, embedding_dim=dims, aggregation="element-wise-sum"
    )
    assert call(layer, batch()).shape[-1] == 4
    assert sorted(layer._fusion.projections) == ["age", "country", "score"]
    with pytest.raises(ValueError, match="no entry for column 'bought'"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim={"item_id": 4})


@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [
        ("age", (None, None, 16), "by the schema"),
        ("item_id", (None, None, 3), "schema"),
        ("bought", (None,), r"is \(batch, time\), but it comes as \(None,\)"),
        ("score", (None, 16), r"is \(batch,\), but it comes as"),
        ("country", (None, None), "schema"),
    ],
)
def test_a_column_of_other_axes_is_refused_when_the_graph_is_made(name, shape, wanted):
    inputs = SCHEMA.inputs()
    inputs[name] = keras.Input(shape[1:], dtype=inputs[name].dtype)
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA)
    with pytest.raises(
        ValueError, match=f"Column '{name}' has one number an? .*{wanted}"
    ):
        layer(inputs)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("d_output", [0, 2.5, "a"]),
        ("embedding_dim", [0, 2.5, None]),
        ("continuous_projection", [-1, True]),
        ("dropout", [1, float("nan"), "a"]),
        ("max_length", [0, 2.5]),
    ],
)
def test_numbers_that_make_no_sense_are_refused(name, values):
    for value in values:
        with pytest.raises((TypeError, ValueError), match=f"{name} .*should be"):
            t4r.SequenceEmbeddingFeatures(SCHEMA, **{name: value})


def test_faults_are_named():
    with pytest.raises(ValueError, match="aggregation must be one of"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, aggregation="max")
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA)
    x = batch()
    del x["age"]
    with pytest.raises(
        ValueError, match=r"Columns \['age'\] of the schema are missing"
    ):
        layer(x)


def test_serialization_keeps_schema_and_shapes():
    layer = t4r.SequenceEmbeddingFeatures(
        SCHEMA, embedding_dim=4, continuous_projection=3, d_output=8, dropout=0.1
    )
    config = keras.saving.serialize_keras_object(layer)
    loaded = keras.saving.deserialize_keras_object(config)
    assert loaded.get_config() == layer.get_config()
    loaded(batch())
    layer(batch())
    assert [w.shape for w in loaded.weights] == [w.shape for w in layer.weights]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_computes_low_and_keeps_high(policy):
    layer = t4r.SequenceEmbeddingFeatures(
        SCHEMA, embedding_dim=4, d_output=8, dtype=policy
    )
    out, table = layer(batch())
    assert keras.backend.standardize_dtype(out.dtype) == policy[6:]
    assert keras.backend.standardize_dtype(table.dtype) == "float32"
    assert {w.dtype for w in layer.weights} == {"float32"}


def test_the_table_is_an_output_like_any_other():
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)
    x, table = layer(SCHEMA.inputs())
    assert x.shape == (None, None, 14) and table.shape == (21, 4)
    _, table = layer(batch())
    np.testing.assert_array_equal(
        ops.convert_to_numpy(table), ops.convert_to_numpy(layer.tables["item"])
    )


def test_a_layer_that_asks_for_a_mask_finds_one_while_the_graph_is_made():
    seen = []

    class Asks(keras.layers.Layer):
        supports_masking = True

        def call(self, x, mask=None):
            return x

        def compute_output_spec(self, x, mask=None):
            seen.append(mask)
            return x

    inputs = SCHEMA.inputs()
    x, _ = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)(inputs)
    Asks()(x)
    Asks()(t4r.MaskedLanguageModeling()(x, inputs["item_id"])[0])
    assert [mask.shape for mask in seen] == [(None, None)] * 2


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has such gradients"
)
def test_a_step_costs_what_its_batch_touches():
    import tensorflow as tf

    from keras_t4r.backend import rows_trained_alone

    features = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)
    features(batch())
    head = t4r.NextItemHead(
        loss=t4r.losses.SampledSoftmax(5), first_id=SCHEMA["item_id"].first_id
    )
    scheme, data = t4r.CausalLanguageModeling(), batch()

    @tf.function
    def gradient():
        # As a model that a row-sparse optimizer trains.
        own = rows_trained_alone([features.tables["item"]])
        with own, tf.GradientTape() as tape:
            x, table = features(data)
            x, targets = scheme(x, data["item_id"], training=True)
            head(x, targets, table, training=True)
            loss = sum(head.losses)
        found = tape.gradient(loss, features.tables["item"].value)
        assert isinstance(found, tf.IndexedSlices)
        return tf.convert_to_tensor(found)

    assert ops.convert_to_numpy(gradient()).any()


def test_an_optimizer_takes_a_row_that_is_looked_up_often_for_one():
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)
    inputs = SCHEMA.inputs()
    model = keras.Model(inputs, ops.sum(layer(inputs)[0], axis=(1, 2))[:, None])
    model.compile(keras.optimizers.Adam(0.1, epsilon=1e-9), loss="mae")
    x = batch()
    assert np.bincount(x["country"]).max() > 1
    table = layer.tables["country"]
    before = ops.convert_to_numpy(table)
    model.train_on_batch(x, np.full((3, 1), 1e3, "float32"))
    # The first step of Adam is the rate, however large the gradient.
    moved = np.abs(ops.convert_to_numpy(table) - before)[np.unique(x["country"])]
    np.testing.assert_allclose(moved, 0.1, rtol=1e-4)
