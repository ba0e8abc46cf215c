"""ContextFeatures: the columns of one value a session, as a vector."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends


def ids(name, high, table=None, **more):
    domain = t4r.Domain(1, high, table or name)
    return t4r.ColumnSchema(name, "int64", ("categorical",), domain, **more)


SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(1, 20, "item"),
            value_count=(1, 6),
        ),
        ids("home", 5, "country"),
        ids("country", 7, "country"),
        ids("device", 3),
        t4r.ColumnSchema("age", "float32", ("continuous",)),
        t4r.ColumnSchema("bought", "float32", ("target",)),
        t4r.ColumnSchema("started", "float32", ("timestamp",)),
        t4r.ColumnSchema("note", "float32"),
        t4r.ColumnSchema("session_id", tags=("session_id",)),
    )
)
X = {
    "country": np.array([7, 0, 2], "int32"),
    "home": np.array([2, 5, 1], "int32"),
    "device": np.array([0, 1, 3], "int32"),
    "age": np.array([0.5, -1.0, 2.0], "float32"),
}


def values(y):
    return ops.convert_to_numpy(y)


def test_columns_are_joined_in_the_order_of_their_names():
    layer = t4r.ContextFeatures(SCHEMA, embedding_dim=4)
    y = values(layer(X))
    tables = {name: values(table) for name, table in layer.tables.items()}
    assert {name: table.shape for name, table in tables.items()} == {
        "country": (8, 4),
        "device": (4, 4),
    }
    expected = [
        X["age"][:, None],
        tables["country"][X["country"]],
        tables["device"][X["device"]],
        tables["country"][X["home"]],
    ]
    np.testing.assert_allclose(y, np.concatenate(expected, -1), rtol=1e-6)
    assert tuple(layer(SCHEMA.inputs()).shape) == (None, 13)


def test_columns_are_stacked_for_products():
    layer = t4r.ContextFeatures(SCHEMA, embedding_dim=4, aggregation="stack")
    y = values(layer(X))
    assert y.shape == (3, 4, 4)
    dense = layer._projections["age"]
    age = X["age"][:, None] * values(dense.kernel) + values(dense.bias)
    np.testing.assert_allclose(y[:, 0], age, rtol=1e-5, atol=1e-6)
    country = values(layer.tables["country"])
    np.testing.assert_allclose(y[:, 1], country[X["country"]], rtol=1e-6)
    assert tuple(layer(SCHEMA.inputs()).shape) == (None, 4, 4)
    assert t4r.DotInteraction()(layer(X)).shape == (3, 6)


def test_id_0_says_nothing_and_is_never_trained():
    inputs = {"device": SCHEMA.inputs()["device"]}
    layer = t4r.ContextFeatures(SCHEMA, ["device"], embedding_dim=4)
    model = keras.Model(inputs["device"], keras.layers.Dense(1)(layer(inputs)))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    before = values(layer.tables["device"]).copy()
    assert not before[0].any()
    model.fit(X["device"], np.ones((3, 1)), epochs=3, verbose=0)
    after = values(layer.tables["device"])
    assert not after[0].any() and not values(layer(X))[0].any()
    assert (after[[1, 3]] != before[[1, 3]]).all()
    np.testing.assert_array_equal(after[2], before[2])


def test_widths_may_differ_by_column():
    dims = {"device": 2, "country": 3, "home": 3}
    layer = t4r.ContextFeatures(SCHEMA, embedding_dim=dims)
    assert layer(X).shape == (3, 1 + 3 + 2 + 3)
    with pytest.raises(ValueError, match="no entry for column 'device'"):
        t4r.ContextFeatures(SCHEMA, embedding_dim={"country": 3})
    with pytest.raises(ValueError, match="shares the table 'country'"):
        t4r.ContextFeatures(SCHEMA, embedding_dim={**dims, "home": 4})
    with pytest.raises(ValueError, match="needs one width"):
        t4r.ContextFeatures(SCHEMA, embedding_dim=dims, aggregation="stack")


def test_mixed_precision():
    layer = t4r.ContextFeatures(SCHEMA, aggregation="stack", dtype="mixed_float16")
    assert keras.backend.standardize_dtype(layer(X).dtype) == "float16"
    assert {w.dtype for w in layer.weights} == {"float32"}


@pytest.mark.parametrize("aggregation", ["concat", "stack"])
def test_it_comes_back(aggregation, tmp_path):
    inputs = {k: v for k, v in SCHEMA.inputs().items() if k in X}
    layer = t4r.ContextFeatures(
        SCHEMA,
        ["home", "age", "device"],
        4,
        aggregation,
        "glorot_normal",
        {"device": t4r.Vocabulary(["tv", "web", "app"], first_id=1, name="device")},
    )
    model = keras.Model(inputs, layer(inputs))
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_allclose(other.predict(X, verbose=0), expected, rtol=1e-6)
        (same,) = (x for x in other.layers if isinstance(x, t4r.ContextFeatures))
        assert same.get_config() == layer.get_config()
        assert same.vocabulary("device").values.to_list() == ["tv", "web", "app"]
        assert same.vocabulary("home") is None


# Keras skips what it could not load of the model, before it says why.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_vocabulary_are_refused(tmp_path):
    def model(words):
        vocabulary = t4r.Vocabulary(words, first_id=1, name="device")
        layer = t4r.ContextFeatures(
            SCHEMA, ["device"], 4, vocabularies={"device": vocabulary}
        )
        inputs = {"device": SCHEMA.inputs()["device"]}
        return keras.Model(inputs["device"], layer(inputs))

    model(["tv", "web", "app"]).save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match="another vocabulary of column 'device'"):
        model(["web", "tv", "app"]).load_weights(tmp_path / "a.weights.h5")


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (["item_id"], "has a value an event"),
        (["bought"], "'bought' is no feature"),
        (["started"], "'started' is no feature"),
        (["note"], "'note' is no feature"),
        (["session_id"], "'session_id' is no feature"),
        (["city"], "no column 'city'"),
        ([], "columns of ContextFeatures is empty"),
    ],
)
def test_columns_that_are_no_context_are_refused(columns, wanted):
    with pytest.raises(ValueError, match=wanted):
        t4r.ContextFeatures(SCHEMA, columns)


def test_bad_input_gets_one_sentence():
    with pytest.raises(ValueError, match="no feature of one value a session"):
        t4r.ContextFeatures(SCHEMA.select(["item_id", "session_id"]))
    with pytest.raises(ValueError, match="aggregation is 'sum'; it should be one of"):
        t4r.ContextFeatures(SCHEMA, aggregation="sum")
    layer = t4r.ContextFeatures(SCHEMA, ["device", "age"])
    with pytest.raises(ValueError, match="Column 'age' is missing"):
        layer({"device": X["device"]})
    with pytest.raises(ValueError, match=r"its input is \(batch,\), but it comes as"):
        layer({"device": X["device"][:, None], "age": X["age"]})


def test_a_schema_goes_without_columns():
    rest = SCHEMA.without(["age", "note"])
    assert rest.names == [n for n in SCHEMA.names if n not in ("age", "note")]
    with pytest.raises(ValueError, match="no column 'agee'"):
        SCHEMA.without(["agee"])


@pytest.mark.parametrize("aggregation", ["concat", "stack"])
def test_large_numbers_stay_finite_in_half_precision(aggregation):
    layer = t4r.ContextFeatures(
        SCHEMA, embedding_dim=8, aggregation=aggregation, dtype="mixed_float16"
    )
    large = {**X, "age": np.array([70_000.0, -1e9, 2.0], "float32")}
    out = layer(large)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    out, plain = (ops.convert_to_numpy(x) for x in (out, layer(X)))
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out[2], plain[2])


def test_widths_can_be_inferred():
    layer = t4r.ContextFeatures(SCHEMA, embedding_dim="infer")
    assert layer(X).shape == (3, 1 + 4 + 4 + 3)  # age, country, home of 8 rows, device
    layer = t4r.ContextFeatures.from_config(layer.get_config())
    dims = {"country": "infer", "home": "infer", "device": 2}
    mixed = t4r.ContextFeatures(SCHEMA, embedding_dim=dims)
    assert layer(X).shape == (3, 12) and mixed(X).shape == (3, 11)
