"""Items by their id and their content: attributes, and items nobody clicked."""

import keras
import numpy as np
import pytest
from feature_cases import ITEM, batch, check_everything, column, values

import keras_t4r as t4r

pytestmark = pytest.mark.backends

SCHEMA = t4r.Schema((ITEM,))
VECTORS = np.random.default_rng(5).normal(size=(21, 6)).astype("float32")
BRANDS = np.random.default_rng(6).integers(0, 4, 21)
GENRES = np.random.default_rng(7).integers(0, 6, (21, 3))


def item_content(**more):
    content = [
        t4r.PretrainedEmbedding(VECTORS),
        t4r.ItemAttribute(BRANDS, dim=2),
        t4r.ItemAttribute(GENRES, dim=3, combiner="sum"),
    ]
    return t4r.ItemContent(content, dim=4, **more)


@pytest.mark.parametrize("combiner", ["mean", "sum"])
def test_an_attribute_is_looked_up_by_item(combiner):
    layer = t4r.ItemAttribute(GENRES, dim=3, combiner=combiner, cardinality=9)
    ids = np.array([[4, 7, 0]])
    out = values(layer(ids))
    rows = values(layer.embeddings)
    assert rows.shape == (9, 3) and not rows[0].any()
    count = np.maximum((GENRES > 0).sum(-1, keepdims=True), 1)
    expected = rows[GENRES].sum(axis=1) / (count if combiner == "mean" else 1)
    np.testing.assert_allclose(out[0, :2], expected[[4, 7]], rtol=1e-5)
    assert not out[0, 2].any()
    np.testing.assert_allclose(values(layer.table())[1:], expected[1:], rtol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "more", "why"),
    [
        (np.ones(4), {}, "holds float64"),
        (np.ones((4, 1, 1), "int32"), {}, "has shape"),
        (np.array([0, -1, 3]), {}, "reach from -1 to 3"),
        (np.zeros(4, "int32"), {}, "reach from 0 to 0"),
        (BRANDS, {"cardinality": 3}, "cardinality is 3; it should be 4 or more"),
        (BRANDS, {"combiner": "max"}, "combiner is 'max'"),
    ],
)
def test_attributes_that_are_none_are_refused(attributes, more, why):
    with pytest.raises((TypeError, ValueError), match=why):
        t4r.ItemAttribute(attributes, **more)


def test_a_row_is_id_and_content_once_an_item_was_seen():
    layer = item_content(embeddings_initializer="ones", id_dropout=0.0)
    layer.build()
    content = values(layer.table())
    joined = np.concatenate([values(c.table()) for c in layer.content], axis=-1)
    expected = joined @ values(layer._adapt.kernel)
    np.testing.assert_allclose(content, expected, rtol=1e-4, atol=1e-5)
    layer(np.array([[3, 5, 0]]), training=False)
    np.testing.assert_array_equal(values(layer.table()), content)
    out = values(layer(np.array([[3, 5, 0]]), training=True))
    after = values(layer.table())
    seen = np.isin(np.arange(21), [3, 5])
    np.testing.assert_allclose(after[seen], content[seen] + 1, rtol=1e-5)
    np.testing.assert_array_equal(after[~seen], content[~seen])
    np.testing.assert_allclose(out[0, :2], after[[3, 5]], rtol=1e-5)
    assert not out[0, 2].any()


def test_ids_are_dropped_in_training_only():
    layer = item_content(embeddings_initializer="ones", id_dropout=0.5, seed=1)
    layer.build()
    content = values(layer.table())
    ids = np.arange(1, 21)[None]
    shares = []
    for _ in range(20):
        values(layer(ids, training=True))
        shares.append((values(layer.table(training=True)) - content)[1:, 0])
    shares = np.round(np.array(shares), 4)
    assert set(shares.ravel().tolist()) == {0.0, 1.0}
    assert 0.4 < shares.mean() < 0.6
    np.testing.assert_allclose(values(layer.table())[1:], content[1:] + 1, rtol=1e-5)


def test_in_a_whole_model(tmp_path):
    bought = column("bought", "categorical", domain=t4r.Domain(2, 20, "item"))
    schema = t4r.Schema((ITEM, bought))

    def columns():
        return {"item_id": item_content(), "bought": "item_id"}

    model = check_everything(schema, batch(*schema), tmp_path, columns)
    config = str(model.get_config())
    assert len(config) < 20_000
    assert values(model.features.columns["item_id"].seen).any()


def test_contents_that_do_not_fit_are_refused():
    other = t4r.PretrainedEmbedding(VECTORS[:20])
    with pytest.raises(ValueError, match=r"have \[20, 21\] rows"):
        t4r.ItemContent([other, t4r.ItemAttribute(BRANDS)])
    with pytest.raises(TypeError, match="it should be a ColumnTable"):
        t4r.ItemContent(VECTORS[0])
    wide = t4r.ItemContent(other, dim=4, adaptor=keras.layers.Dense(5))
    with pytest.raises(ValueError, match=r"it should make \(20, 4\)"):
        wide.build()


# Items nobody clicked. Each group of items is followed by the next group; the content
# says which group an item is of.

GROUPS, EACH = 6, 10


def grouped_sessions(items, rows, seed):
    """Sessions of four events, which go from group to group."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, GROUPS, (rows, 1))
    group = (first + np.arange(4)) % GROUPS
    return (group * EACH + rng.choice(items, (rows, 4)) + 2).astype("int32")


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("cold_items_have_content", [True, False])
def test_items_that_were_in_no_training_session_are_ranked(cold_items_have_content):
    rng = np.random.default_rng(0)
    domain = t4r.Domain(2, GROUPS * EACH + 1, "item")
    schema = t4r.Schema((column("item_id", "item_id", "categorical", domain=domain),))
    ids = np.arange(2, GROUPS * EACH + 2)
    group = np.eye(GROUPS)[(ids - 2) // EACH]
    noise = rng.normal(scale=0.3, size=(len(ids), GROUPS))
    vectors = np.concatenate([np.zeros((2, GROUPS)), group + noise]).astype("float32")
    columns = {}
    if cold_items_have_content:
        content = t4r.PretrainedEmbedding(vectors)
        columns["item_id"] = t4r.ItemContent(content, dim=16, id_dropout=0.3, seed=1)
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=16, columns=columns)(
        inputs
    )
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    scores = t4r.NextItemHead(bias=False)(keras.layers.Dense(16)(x), targets, table)
    model = t4r.SessionModel(inputs, scores)
    model.compile(keras.optimizers.Adam(0.02))
    # The last item of each group, a tenth of all, is in no session of the training.
    warm, cold = np.arange(EACH - 1), [EACH - 1]
    train = grouped_sessions(warm, 512, seed=1)
    model.fit({"item_id": train}, batch_size=64, epochs=8, verbose=0)
    test = grouped_sessions(warm, 60, seed=2)
    target = grouped_sessions(cold, 60, seed=2)[:, 3]
    scores = values(model({"item_id": test[:, :3]}, training=False))
    own = np.take_along_axis(scores, target[:, None], axis=1)
    rank = (scores[:, 2:] >= own).sum(axis=1) / (GROUPS * EACH)
    if cold_items_have_content:
        # Within the group that comes next, which is a sixth; by chance it is a half.
        assert rank.mean() < 0.2
    else:
        assert rank.mean() > 0.4
