"""Widths, initialisers and regularisers of the tables that features make."""

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

pytestmark = pytest.mark.backends

# Of the items' domain: it shares their table.
BOUGHT = column("bought", "categorical", domain=t4r.Domain(2, 20, "item"))
SCHEMA = t4r.Schema((ITEM, BOUGHT, AGE, COUNTRY))


def built(**options):
    layer = t4r.SequenceEmbeddingFeatures(SCHEMA, **options)
    layer(SCHEMA.inputs())
    return layer


def widths(layer):
    return {name: table.shape[1] for name, table in layer.tables.items()}


def test_widths_can_be_inferred_from_what_a_table_holds():
    # 21 ids: ceil(2 * 21 ** .25) = ceil(4.28); 5 ids: ceil(2.99).
    assert widths(built(embedding_dim="infer")) == {"item": 5, "country": 3}
    assert t4r.inferred_dims(SCHEMA, multiplier=4) == {
        "item_id": 9,
        "bought": 9,
        "country": 6,
    }
    dims = {"item_id": 8, "bought": 8, "country": "infer"}
    assert widths(built(embedding_dim=dims)) == {"item": 8, "country": 3}


def test_columns_of_one_domain_have_the_width_of_the_larger():
    other = column("bought", "categorical", domain=t4r.Domain(2, 3, "item"))
    schema = t4r.Schema((ITEM, other))
    assert t4r.inferred_dims(schema) == {"item_id": 5, "bought": 5}
    with pytest.raises(ValueError, match="multiplier is 0"):
        t4r.inferred_dims(schema, 0)
    with pytest.raises((TypeError, ValueError), match="embedding_dim of column"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim="inferred")


def test_initialisers_are_one_or_by_column():
    ones = keras.initializers.Constant(1.0)
    layer = built(embedding_dim=4, embeddings_initializer={"country": ones})
    country, item = (values(layer.tables[name]) for name in ("country", "item"))
    np.testing.assert_array_equal(country[1:], 1.0)
    assert not country[0].any()
    assert 0.02 < item[1:].std() < 0.1
    layer = built(embedding_dim=4, embeddings_initializer=ones)
    np.testing.assert_array_equal(values(layer.tables["item"])[1:], 1.0)


def test_regularisers_are_one_or_by_column():
    def loss(**options):
        layer = built(embedding_dim=4, **options)
        table = values(layer.tables["item"])
        return float(sum(map(values, layer.losses))), 0.1 * (table**2).sum()

    penalty = keras.regularizers.L2(0.1)
    found, expected = loss(embeddings_regularizer={"bought": penalty})
    assert found == pytest.approx(expected, rel=1e-5)
    found, expected = loss(embeddings_regularizer=penalty)
    assert found > expected * 1.01
    assert loss()[0] == 0


@pytest.mark.parametrize("argument", ["initializer", "regularizer"])
def test_names_that_mean_nothing_or_two_things_are_refused(argument):
    one = "zeros" if argument == "initializer" else "l2"
    argument = f"embeddings_{argument}"
    with pytest.raises(ValueError, match=rf"{argument} names \['age'\]"):
        t4r.SequenceEmbeddingFeatures(SCHEMA, **{argument: {"age": one}})
    both = {"item_id": one, "bought": one}
    with pytest.raises(ValueError, match="share a table: name one of them"):
        built(**{argument: both})


def test_in_a_whole_model(tmp_path):
    x = batch(*SCHEMA)
    model = check_everything(
        SCHEMA,
        x,
        tmp_path,
        dict,
        embedding_dim="infer",
        embeddings_initializer={"country": "ones"},
        embeddings_regularizer={"item_id": "l2"},
    )
    config = model.features.get_config()
    assert config["embedding_dim"] == "infer"
    assert set(config["embeddings_regularizer"]) == {"item_id"}
    assert not values(model.features.tables["item"])[0].any()


def test_a_regularised_table_weighs_in_the_loss():
    x = batch(*SCHEMA)
    plain, penal = (
        make_model(SCHEMA, embeddings_regularizer=keras.regularizers.L2(w))
        for w in (0.0, 1.0)
    )
    before = values(penal.features.tables["item"])
    logs = [
        m.fit(x, verbose=0, shuffle=False).history["loss"][0] for m in (plain, penal)
    ]
    country = values(make_model(SCHEMA).features.tables["country"])
    expected = (before**2).sum() + (country**2).sum()
    assert logs[1] - logs[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "aggregation", ["concat", "gated", "element-wise-sum-item-multi"]
)
def test_a_table_may_be_in_another_dtype(aggregation, tmp_path):
    columns = {"item_id": t4r.IdEmbedding(21, 4, dtype="bfloat16"), "bought": "item_id"}
    more = {"columns": columns, "aggregation": aggregation, "layer_norm": True}
    model = make_model(SCHEMA, **more)
    x = batch(*SCHEMA)
    model.fit(x, verbose=0)
    dtypes = {w.dtype for w in model.features.weights}
    assert dtypes == {"float32", "bfloat16"}
    out, table = model.features(x)
    kinds = [keras.backend.standardize_dtype(y.dtype) for y in (out, table)]
    assert kinds == ["float32", "bfloat16"]
    before = answers(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(answers(loaded, x), before)
    sessions = {"item_id": [[3, 4]], "bought": [[5, 6]], "age": [[1.0, 2.0]]}
    found = model.recommend({**sessions, "country": [2]}, k=3, encoded=True)
    assert np.isfinite(found["scores"]).all()
