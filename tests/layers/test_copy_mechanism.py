"""The step that lets an item of the session come again."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends

A = np.array([-1.5, -0.7, -2.0, 0.8, -0.4, -1.2])
ITEMS = np.array([[3, 4, 3, 5, 0, 0], [6, 6, 6, 6, 6, 7], [0, 0, 0, 0, 0, 0]], "int32")


def scores(rows=3, ids=9, seed=0):
    values = np.random.default_rng(seed).normal(size=(rows, ids)).astype("float32")
    values[:, :2] = -np.inf
    return values


def fitted(a=A):
    layer = t4r.CopyMechanism()
    layer.set_coefficients(a)
    return layer


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_hand(scores, items, a):
    """The equation, session by session."""
    out = []
    for q, session in zip(softmax(scores.astype("float64")), items, strict=True):
        session = [i for i in session if i]
        e = np.zeros(len(q))
        for item in set(session):
            steps = [len(session) - at for at, i in enumerate(session) if i == item]
            terms = [
                1.0,
                np.log(min(steps)),
                min(steps) == 1,
                np.log(len(steps)),
                np.log(len(session)),
                np.log(len(set(session)) / len(session)),
            ]
            e[item] = np.exp(np.dot(a, terms))
        with np.errstate(divide="ignore"):
            out.append(np.log((q + e) / (1 + e.sum())))
    return np.stack(out)


def test_it_is_its_equation():
    out = ops.convert_to_numpy(fitted()(scores(), ITEMS))
    np.testing.assert_allclose(out, by_hand(scores(), ITEMS, A), rtol=1e-5)
    np.testing.assert_allclose(np.exp(out).sum(1), 1, rtol=1e-5)


def test_it_hands_scores_on_until_it_is_fit_and_in_training():
    layer = t4r.CopyMechanism()
    np.testing.assert_array_equal(layer(scores(), ITEMS), scores())
    layer = fitted()
    np.testing.assert_array_equal(layer(scores(), ITEMS, training=True), scores())
    empty = np.zeros((3, 0), "float32")
    assert layer(empty, ITEMS, training=True).shape == (3, 0)
    with layer.set_aside():
        np.testing.assert_array_equal(layer(scores(), ITEMS), scores())
    assert not np.allclose(layer(scores(), ITEMS), scores())
    layer.set_coefficients(None)
    np.testing.assert_array_equal(layer(scores(), ITEMS), scores())


def test_padding_is_nothing_wherever_it_stands():
    layer = fitted()
    out = ops.convert_to_numpy(layer(scores(), ITEMS))
    wide = np.zeros((3, 9), "int32")
    wide[:, [1, 2, 4, 5, 7, 8]] = ITEMS
    np.testing.assert_allclose(layer(scores(), wide), out, rtol=1e-6)


def test_what_cannot_be_answered_has_no_evidence():
    hidden = scores()
    hidden[:, 3] = -np.inf
    out = ops.convert_to_numpy(fitted()(hidden, ITEMS))
    assert (out[:, [0, 1, 3]] == -np.inf).all()
    np.testing.assert_allclose(np.exp(out).sum(1), 1, rtol=1e-5)
    # An unknown item, which scores nothing, is an event but no evidence.
    unknown = np.array([[1, 4]], "int32")
    np.testing.assert_allclose(
        np.exp(ops.convert_to_numpy(fitted()(scores(1), unknown))).sum(1), 1, rtol=1e-5
    )


def test_extreme_coefficients_stay_numbers():
    for a in (np.full(6, 15.0), np.full(6, -15.0)):
        out = ops.convert_to_numpy(fitted(a)(scores(), ITEMS))
        assert np.isfinite(out[:, 2:]).all()


def test_it_comes_back_from_its_config_and_weights():
    inputs = [keras.Input((9,)), keras.Input((6,), dtype="int32")]
    model = keras.Model(inputs, fitted()(*inputs))
    again = keras.models.clone_model(model)
    again.set_weights(model.get_weights())
    expected = by_hand(scores(), ITEMS, A)
    np.testing.assert_allclose(
        again.predict([scores(), ITEMS], verbose=0), expected, rtol=1e-5
    )


@pytest.mark.parametrize("a", [[1.0] * 5, [np.nan] * 6, [[1.0] * 6]])
def test_other_coefficients_are_refused(a):
    with pytest.raises(ValueError, match="are 6 finite numbers, of constant, distance"):
        t4r.CopyMechanism().set_coefficients(a)
