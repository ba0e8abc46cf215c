"""`SessionModel.answers`: every output as it is served, of one forward pass."""

import keras
import numpy as np
import pytest
from keras import ops
from seeds import set_seed

import keras_t4r as t4r

pytestmark = pytest.mark.backends
LENGTH, ITEMS, CATEGORIES = 5, 12, 4


def list_column(name, last, *tags):
    return t4r.ColumnSchema(
        name,
        tags=(*tags, "categorical"),
        domain=t4r.Domain(2, last, name),
        value_count=(1, LENGTH),
    )


SCHEMA = t4r.Schema(
    (
        list_column("item_id", ITEMS + 1, "item_id"),
        list_column("category", CATEGORIES + 1),
    )
)
# Lengths 7 and 2, where the model reads the newest four.
X = {
    "item_id": np.array([[2, 3, 4, 5, 6, 7, 8], [9, 4, 0, 0, 0, 0, 0]], "int32"),
    "category": np.array([[2, 3, 4, 5, 2, 3, 4], [5, 4, 0, 0, 0, 0, 0]], "int32"),
}
NEWEST = {
    "item_id": np.array([[5, 6, 7, 8], [9, 4, 0, 0]], "int32"),
    "category": np.array([[5, 2, 3, 4], [5, 4, 0, 0]], "int32"),
}


@pytest.fixture(scope="module", params=["clm", "mlm"])
def model(request):
    set_seed(0)
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, 8, embedding_dim=4)(inputs)
    clm = request.param == "clm"
    scheme = t4r.CausalLanguageModeling() if clm else t4r.MaskedLanguageModeling()
    x, (items, categories) = scheme(x, [inputs["item_id"], inputs["category"]])
    body = t4r.session_config("gpt2" if clm else "bert", 8, n_head=2, n_layer=1)
    x = t4r.TransformerBlock(body)(x)
    head = t4r.NextItemHead(cardinality=CATEGORIES + 2, target="category")
    last = t4r.SessionSummary("last")(x)
    liked = keras.layers.Dense(1, "sigmoid")(x)
    outputs = {
        "item": t4r.NextItemHead()(x, items, table),
        "kind": head(x, categories),
        "bought": keras.layers.Dense(1, "sigmoid")(last),
        "liked": liked,
        "likings": liked[..., 0],
    }
    model = t4r.SessionModel(inputs, outputs)
    model.compile(metrics={"kind": [t4r.metrics.MRR(4)], "item": [t4r.metrics.MRR(4)]})
    return model


@pytest.mark.backends("torch")
def test_answers_are_those_of_the_newest_events(model):
    answers = model.answers(X, k=6)
    expected = model.predict_on_batch(NEWEST)
    assert list(answers) == ["item", "kind", "bought", "liked", "likings"]
    for name, count in (("item", 6), ("kind", 4)):
        scores, ids = (ops.convert_to_numpy(part) for part in answers[name])
        order = np.argsort(-np.asarray(expected[name]), axis=1)[:, :count]
        assert ids.tolist() == order.tolist()
        best = np.take_along_axis(np.asarray(expected[name]), order, axis=1)
        np.testing.assert_allclose(scores, best, atol=1e-5)
    bought = ops.convert_to_numpy(answers["bought"])
    np.testing.assert_allclose(bought, np.asarray(expected["bought"]), atol=1e-5)
    liked = ops.convert_to_numpy(answers["liked"])
    assert liked.shape == (2, 4, 1)
    real = NEWEST["item_id"] != 0
    wanted = np.asarray(expected["liked"])[:, :4] * real[..., None]
    np.testing.assert_allclose(liked, wanted, atol=1e-5)
    assert (liked[real] != 0).all()
    likings = ops.convert_to_numpy(answers["likings"])
    np.testing.assert_allclose(likings, wanted[..., 0], atol=1e-5)


def test_top_k_is_one_of_the_answers(model):
    answers = model.answers(X, k=3, exclude_seen=True)
    for part, one in zip(answers["item"], model.top_k(X, 3, True), strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(part), ops.convert_to_numpy(one)
        )


def test_seen_items_take_no_id_from_another_column(model):
    """Ids of items are ids of other things in the scores of categories."""
    plain = model.answers(X, k=4)["kind"]
    unseen = model.answers(X, k=4, exclude_seen=True)["kind"]
    for part, one in zip(plain, unseen, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(part), ops.convert_to_numpy(one)
        )
    y = {"item": np.array([10, 11]), "kind": np.array([2, 4])}
    logs = [
        model.evaluate(X, y, exclude_seen=seen, return_dict=True, verbose=0)
        for seen in (False, True)
    ]
    assert logs[0]["kind_mrr_4"] == logs[1]["kind_mrr_4"] > 0


def test_k_reaches_the_most_ids_of_an_output(model):
    assert model.answers(X, k=ITEMS)["item"][1].shape == (2, ITEMS)
    with pytest.raises(ValueError, match="number of items, 12, not at 13"):
        model.answers(X, k=ITEMS + 1)
