import numpy as np
import pytest
from keras import ops

from keras_t4r.layers.heads.softmax_sampling import sample_softmax
from keras_t4r.losses.products import blocks

pytestmark = pytest.mark.backends


def case(rows, items=7, dim=3, seed=0):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(items, dim)).astype("float32")
    bias = rng.normal(size=items).astype("float32")
    return rng.normal(size=(rows, dim)).astype("float32"), table, bias


def probabilities(hidden, table, bias):
    z = hidden @ table.T + bias
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sample(*arguments):
    return ops.convert_to_numpy(sample_softmax(*arguments))


def test_items_come_as_often_as_their_probability():
    hidden, table, bias = case(1)
    many = np.repeat(hidden, 40_000, axis=0)
    draw = np.random.default_rng(1).random(40_000).astype("float32")
    items = sample(many, table, bias, draw)
    shares = np.bincount(items, minlength=7) / 40_000
    np.testing.assert_allclose(shares, probabilities(hidden, table, bias)[0], atol=0.01)


def test_each_row_gets_the_item_where_the_mass_passes_its_draw():
    hidden, table, bias = case(200)
    draw = np.random.default_rng(2).random(200).astype("float32")
    mass = probabilities(hidden, table, bias).cumsum(axis=1)
    expected = (mass <= draw[:, None]).sum(axis=1)
    np.testing.assert_array_equal(sample(hidden, table, bias, draw), expected)


def test_blocks_of_rows_give_the_same(monkeypatch):
    hidden, table, bias = case(53)
    draw = np.random.default_rng(3).random(53).astype("float32")
    whole = sample(hidden, table, bias, draw)
    monkeypatch.setattr(blocks, "BLOCK_LOGITS", 7 * 16)
    np.testing.assert_array_equal(sample(hidden, table, bias, draw), whole)
    assert len(set(whole.tolist())) > 3


def test_the_ends_of_the_draw_stay_inside():
    hidden, table, bias = case(2)
    draw = np.array([0.0, np.nextafter(np.float32(1), np.float32(0))], "float32")
    items = sample(hidden, table, bias, draw)
    assert items[0] == 0 and items[1] == 6


def test_scores_far_apart_overflow_nothing():
    hidden, table, bias = case(4)
    draw = np.full(4, 0.5, "float32")
    items = sample(hidden * 1e4, table, bias, draw)
    np.testing.assert_array_equal(items, (hidden @ table.T * 1e4).argmax(axis=1))
