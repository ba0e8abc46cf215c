import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends

ITEMS, WIDTH = 12, 6
IDS = np.array([[5, 6, 7, 8, 0], [9, 3, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")
HIDDEN = np.array([[0, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)


TABLE = np.random.default_rng(9).normal(size=(ITEMS, WIDTH)).astype("float32")


def head(**options):
    return t4r.GeneratorHead(**options)


def events(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*IDS.shape, WIDTH)).astype("float32")


def draw(layer, training=True, copies=1):
    """Scores and items of a batch of `IDS`, `copies` times over."""
    x, ids = np.tile(events(), (copies, 1, 1)), np.tile(IDS, (copies, 1))
    targets = np.where(np.tile(HIDDEN, (copies, 1)), ids, 0)
    scores, items = layer(x, targets, TABLE, ids, training=training)
    return ops.convert_to_numpy(scores), ops.convert_to_numpy(items)


def test_items_are_replaced_where_they_were_hidden_and_nowhere_else():
    layer = head(seed=1)
    drawn = draw(layer, copies=60)[1].reshape(60, *IDS.shape)
    assert (drawn[:, ~HIDDEN] == IDS[~HIDDEN]).all()
    assert drawn[:, HIDDEN].min() >= 2 and drawn[:, HIDDEN].max() < ITEMS
    assert (drawn[:, HIDDEN] != IDS[HIDDEN]).mean() > 0.5


@pytest.mark.backends("torch")
def test_replacements_follow_the_scores_of_the_position():
    layer, table = head(seed=2, bias=False), TABLE
    drawn = draw(layer, copies=1500)[1].reshape(1500, *IDS.shape)
    z = events()[0, 1] @ table[2:].T
    expected = np.exp(z) / np.exp(z).sum()
    shares = np.bincount(drawn[:, 0, 1] - 2, minlength=ITEMS - 2) / 1500
    np.testing.assert_allclose(shares, expected, atol=0.05)


def test_inference_replaces_nothing():
    scores, items = draw(head(), training=False)
    np.testing.assert_array_equal(items, IDS)
    assert scores.shape == (3, ITEMS)


def test_the_loss_of_the_head_is_that_without_replacements():
    plain, sampling = t4r.NextItemHead(), head()
    arguments = (events(), np.where(HIDDEN, IDS, 0), TABLE)
    plain(*arguments, training=True)
    sampling(*arguments, IDS, training=True)
    one, other = (ops.convert_to_numpy(x.losses[-1]) for x in (plain, sampling))
    assert other == pytest.approx(one)


def test_the_discriminator_is_asked_about_real_events_only():
    layer = t4r.ReplacedTokenDetection(weight=3.0)
    replaced = IDS.copy()
    replaced[0, 1], replaced[1, 0] = 4, 11
    scores = np.ones((3, 0), "float32")
    x = events(4)
    out = layer(scores, x, replaced, IDS, training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(out), scores)
    logits = ops.convert_to_numpy(layer._outer(layer._inner(x)))[..., 0]
    chance = 1 / (1 + np.exp(-logits))
    wrong = replaced != IDS
    bce = -np.log(np.where(wrong, chance, 1 - chance))
    expected = 3.0 * bce[IDS != 0].mean()
    assert ops.convert_to_numpy(layer.losses[0]) == pytest.approx(expected, rel=1e-5)
    # What stands in padding is nothing.
    x[IDS == 0] = 50.0
    layer(scores, x, replaced, IDS, training=True)
    assert ops.convert_to_numpy(layer.losses[0]) == pytest.approx(expected, rel=1e-5)


def test_inference_adds_no_loss_and_hands_the_scores_on():
    layer = t4r.ReplacedTokenDetection()
    scores = np.random.default_rng(0).normal(size=(3, ITEMS)).astype("float32")
    out = layer(scores, events(), IDS, IDS, training=False)
    np.testing.assert_array_equal(ops.convert_to_numpy(out), scores)
    assert not layer.losses


def test_what_makes_no_sense_is_refused():
    for weight in (0, float("nan"), float("inf"), "a"):
        with pytest.raises((TypeError, ValueError), match="weight is"):
            t4r.ReplacedTokenDetection(weight=weight)


def test_it_serializes():
    layer = t4r.ReplacedTokenDetection(7.0)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
