"""Ids in tables of fewer rows: hashed, and by quotient and remainder."""

import keras
import numpy as np
import pytest
from feature_cases import COUNTRY, ITEM, batch, check_everything, column, values

import keras_t4r as t4r

pytestmark = pytest.mark.backends

USERS = 500
USER = column("user", "categorical", domain=t4r.Domain(1, USERS - 1), is_list=False)
IDS = np.arange(USERS)

ENCODERS = {
    "hashed": lambda n=USERS: t4r.HashedEmbedding(n, 40, dim=3, seed=7),
    "importance": lambda n=USERS: t4r.HashedEmbedding(
        n, 40, dim=3, hashes=3, importance=True
    ),
    "product": lambda n=USERS: t4r.QuotientRemainderEmbedding(n, dim=3),
    "sum": lambda n=USERS: t4r.QuotientRemainderEmbedding(
        n, 3, modulus=4, operation="add"
    ),
}
every_kind = pytest.mark.parametrize("kind", ENCODERS)


def buckets(ids, count, hashes, seed):
    """By plain Python's numbers."""
    drawn = np.random.RandomState(seed).randint(
        0, 2**31, (4, 256, hashes), dtype="int64"
    )
    found = np.zeros((len(ids), hashes), "int64")
    for place in range(4):
        found ^= drawn[place][ids // 256**place % 256]
    return np.where(ids[:, None] == 0, 0, found % count + 1)


def expected_of(layer, ids):
    """The equation, of the layer's weights."""
    if isinstance(layer, t4r.HashedEmbedding):
        at = buckets(ids, layer.buckets, layer.hashes, layer.seed)
        rows = values(layer.embeddings)[at]
        if layer.importance:
            rows = rows * values(layer.importances)[ids][:, :, None]
        return rows.sum(axis=1)
    m = values(layer.remainders).shape[0] - 1
    q = np.where(ids == 0, 0, (ids - 1) // m + 1)
    r = np.where(ids == 0, 0, (ids - 1) % m + 1)
    q, r = values(layer.quotients)[q], values(layer.remainders)[r]
    return q * r if layer.operation == "multiply" else q + r


@every_kind
def test_a_vector_is_what_the_equation_says(kind):
    layer = ENCODERS[kind]()
    layer.build()
    for weight in layer.weights:
        moved = values(weight) + np.random.default_rng(1).normal(size=weight.shape)
        moved[0] = 0.0
        weight.assign(moved)
    expected = expected_of(layer, IDS)
    assert not expected[0].any() and expected[1:].any(axis=1).all()
    np.testing.assert_allclose(values(layer(IDS)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        values(layer(IDS.reshape(5, 100))).reshape(-1, 3), expected, rtol=1e-5
    )
    # What heads score with.
    rows, table = layer.with_table(IDS[:9])
    np.testing.assert_allclose(values(table), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values(rows), expected[:9], rtol=1e-5, atol=1e-6)


@every_kind
def test_vectors_begin_small_and_apart(kind):
    layer = ENCODERS[kind]()
    layer.build()
    table = values(layer.table())
    assert 0.02 < table[1:].std() < 0.1
    apart = len(np.unique(np.round(table[1:], 7), axis=0))
    # 40 rows make about 800 pairs, and 10,000 triples.
    assert apart >= {"hashed": 330, "importance": 470}.get(kind, USERS - 1)


@pytest.mark.parametrize(
    ("layer", "count"),
    [
        (lambda: t4r.HashedEmbedding(10**6, 1000, 8), 1001 * 8),
        (
            lambda: t4r.HashedEmbedding(10**6, 1000, 8, importance=True),
            1001 * 8 + 2 * 10**6,
        ),
        (lambda: t4r.QuotientRemainderEmbedding(10**6 + 1, 8), 2 * 1001 * 8),
        (lambda: t4r.QuotientRemainderEmbedding(10**6 + 1, 8, 10), 8 * (10**5 + 12)),
    ],
)
def test_weights_are_as_many_as_rows_that_are_learnt(layer, count):
    layer = layer()
    layer.build()
    assert layer.count_params() == count


def test_an_id_has_the_same_rows_everywhere():
    layer = t4r.HashedEmbedding(2**31 - 1, 2**30, dim=1, hashes=2, seed=3)
    ids = np.array([0, 1, 2, 255, 256, 2**24, 2**31 - 2])
    found = values(layer.buckets_of(ids))
    np.testing.assert_array_equal(found, buckets(ids, 2**30, 2, 3))
    assert found.tolist()[-3:] == GOLDEN
    again = t4r.HashedEmbedding.from_config(layer.get_config())
    np.testing.assert_array_equal(values(again.buckets_of(ids)), found)
    other = t4r.HashedEmbedding(2**31 - 1, 2**30, dim=1, hashes=2, seed=4)
    assert (values(other.buckets_of(ids))[1:] != found[1:]).all()
    # Evenly, and one function like no other.
    many = values(t4r.HashedEmbedding(9, 50, seed=3).buckets_of(np.arange(1, 5001)))
    counts = np.stack([np.bincount(many[:, k], minlength=51)[1:] for k in (0, 1)])
    assert counts.min() > 50 and counts.max() < 160
    assert (many[:, 0] == many[:, 1]).mean() < 0.05


# Of (256, 2**24, 2**31 - 2).
GOLDEN = [
    [512190507, 243332798],
    [710168988, 631620851],
    [1012620136, 630246420],
]


def touched_by(layer, ids):
    """Dict of weight's name to the rows that ids are made of."""
    ids = ids[ids > 0]
    if isinstance(layer, t4r.HashedEmbedding):
        at = buckets(ids, layer.buckets, layer.hashes, layer.seed)
        return {"embeddings": set(at.ravel()), "importances": set(ids)}
    m = values(layer.remainders).shape[0] - 1
    q, r = (ids - 1) // m + 1, (ids - 1) % m + 1
    return {"quotients": set(q), "remainders": set(r)}


@every_kind
def test_a_step_trains_the_rows_of_its_ids_alone(kind):
    schema = t4r.Schema((ITEM, USER))
    layer = ENCODERS[kind]()
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, 8, 4, columns={"user": layer})(
        inputs
    )
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    scores = t4r.NextItemHead()(keras.layers.Dense(8)(x), targets, table)
    model = t4r.SessionModel(inputs, scores)
    # Adam has momentum, which moves rows of earlier steps where gradients are whole.
    sparse = keras.backend.backend() == "tensorflow"
    make = t4r.optimizers.RowSparseAdam if sparse else keras.optimizers.SGD
    model.compile(make(0.1), probe=False)
    x = batch(*schema)
    for ids in ([7, 90, 333], [12, 0, 499]):
        x["user"] = np.array(ids, "int32")
        before = {w.name: values(w).copy() for w in layer.weights}
        model.fit(x, verbose=0)
        touched = touched_by(layer, x["user"])
        for weight in layer.weights:
            moved = (values(weight) != before[weight.name]).any(axis=1)
            assert set(np.flatnonzero(moved)) == touched[weight.name]


@every_kind
def test_in_a_whole_model(kind, tmp_path):
    bought = column("bought", "categorical", domain=t4r.Domain(2, 20, "item"))
    schema = t4r.Schema((ITEM, bought, COUNTRY))

    def columns():
        item, country = ENCODERS[kind](21), ENCODERS[kind](5)
        return {"item_id": item, "bought": "item_id", "country": country}

    x = batch(*schema)
    model = check_everything(schema, x, tmp_path, columns)
    encoder = model.features.columns["item_id"]
    np.testing.assert_allclose(
        values(model.features(x)[1]), expected_of(encoder, np.arange(21)), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: t4r.HashedEmbedding(0, 4), "cardinality is 0"),
        (lambda: t4r.HashedEmbedding(9, 0), "buckets is 0"),
        (lambda: t4r.HashedEmbedding(9, 2.5), "buckets is 2.5"),
        (lambda: t4r.HashedEmbedding(9, 4, 0), "dim is 0"),
        (lambda: t4r.HashedEmbedding(9, 4, hashes=0), "hashes is 0"),
        (lambda: t4r.HashedEmbedding(9, 4, seed=-1), "seed is -1"),
        (lambda: t4r.HashedEmbedding(9, 4, seed=None), "seed is None"),
        (lambda: t4r.QuotientRemainderEmbedding(1), "cardinality is 1"),
        (lambda: t4r.QuotientRemainderEmbedding(9, 0), "dim is 0"),
        (lambda: t4r.QuotientRemainderEmbedding(9, modulus=9), "modulus is 9"),
        (lambda: t4r.QuotientRemainderEmbedding(9, operation="mul"), "operation is"),
        (lambda: t4r.IdEmbedding("item_id"), "cardinality is 'item_id'"),
        (
            lambda: t4r.SequenceEmbeddingFeatures(
                t4r.Schema((ITEM,)), columns={"item_id": t4r.HashedEmbedding(20, 4)}
            )(batch(ITEM)),
            "has 20 rows, but the column has 21 ids",
        ),
    ],
)
def test_arguments_that_are_none_are_refused(make, why):
    with pytest.raises((TypeError, ValueError), match=why):
        make()
