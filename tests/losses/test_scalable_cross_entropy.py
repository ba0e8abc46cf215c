import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops

import keras_t4r as t4r
from keras_t4r.losses import scalable_cross_entropy, softmax_cross_entropy
from keras_t4r.losses.item_rows import ItemRows

pytestmark = pytest.mark.backends("torch")
ROWS, ITEMS, DIM, FIRST = 12, 60, 5, 2


def example(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    bias = rng.normal(size=ITEMS).astype("float32")
    bias[:FIRST] = -1e9
    return (
        rng.normal(size=(rows, DIM)).astype("float32"),
        rng.normal(size=(ITEMS, DIM)).astype("float32"),
        bias,
        rng.integers(FIRST, ITEMS, rows).astype("int32"),
        rng.random(rows).astype("float32"),
    )


def built(*args):
    loss = t4r.losses.ScalableCrossEntropy(*args, seed=1)
    loss.build(keras.layers.Layer(), ITEMS, FIRST)
    return loss


def gradients(loss, arrays):
    targets, weights = map(ops.convert_to_tensor, arrays[3:])
    return value_and_gradients(lambda *x: loss.call(*x, targets, weights), arrays[:3])


@pytest.mark.backends("jax")
def test_buckets_of_everything_are_the_full_softmax():
    arrays = example()
    full = softmax_cross_entropy(*map(ops.convert_to_tensor, arrays))
    loss, *found = gradients(built(3, ROWS, ITEMS), arrays)
    assert loss == pytest.approx(float(full), rel=1e-5)
    assert all(np.isfinite(x).all() for x in found)


def test_it_trains_the_items_of_its_buckets_only_and_hard_ones():
    arrays = example()
    _, d_hidden, d_table, _ = gradients(built(2, 4, 5), arrays)
    moved = np.flatnonzero(np.abs(d_table).sum(1))
    assert len(moved) <= 2 * 5 + 2 * 4
    assert np.count_nonzero(np.abs(d_hidden).sum(1)) <= 2 * 4
    assert moved.min() >= FIRST


@pytest.mark.backends("jax")
@pytest.mark.parametrize("normalize", [False, True])
def test_items_are_looked_at_in_chunks(normalize, monkeypatch):
    hidden, table, bias, *others = example()
    targets, weights = map(ops.convert_to_tensor, others)

    def found():
        def loss(hidden, table, bias):
            items = ItemRows(table, bias, normalize=normalize)
            return built(3, 4, 5).call_on_rows(hidden, items, targets, weights)

        return value_and_gradients(loss, (hidden, table, bias))

    whole = found()
    # 8 of 60 items a chunk: the last one reaches back.
    monkeypatch.setattr(scalable_cross_entropy, "TILE_LOGITS", 24)
    for one, other in zip(found(), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_its_negatives_score_higher_than_drawn_ones():
    """On outputs that lie by their items, as trained ones do."""
    rng = np.random.default_rng(3)
    table = rng.normal(size=(2000, 16)).astype("float32")
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    targets = rng.integers(FIRST, 2000, 64).astype("int32")
    hidden = 4 * table[targets] + rng.normal(size=(64, 16)).astype("float32")
    loss = t4r.losses.ScalableCrossEntropy(16, 8, 32, seed=1)
    loss.build(keras.layers.Layer(), 2000, FIRST)
    outputs, items = loss._buckets(
        ops.convert_to_tensor(hidden), ItemRows(table), np.ones(64, "float32")
    )
    outputs, items = map(ops.convert_to_numpy, (outputs, items))
    hard = np.mean(
        [hidden[o] @ table[i].T for o, i in zip(outputs, items, strict=True)]
    )
    assert hard > (hidden @ table.T).mean() + 0.8 * (hidden @ table.T).std()


@pytest.mark.backends("jax")
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_few_targets_or_none(rows):
    if rows == 0 and keras.backend.backend() == "jax":
        pytest.skip("shapes are fixed on JAX: a batch without targets has rows too")
    arrays = list(example(rows))
    loss, *found = gradients(built(4, 8, 8), arrays)
    assert np.isfinite(loss) and all(np.isfinite(x).all() for x in found)
    arrays[4] = arrays[4] * 0
    loss, *found = gradients(built(4, 8, 8), arrays)
    assert loss == 0 and all(np.isfinite(x).all() for x in found)
