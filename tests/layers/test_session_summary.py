"""SessionSummary: one vector a session, of its real events only."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.layers.attach_mask import AttachMask

pytestmark = pytest.mark.backends

KINDS = ("first", "last", "mean", "max", "attention")

# Padding before, after, between; one event; none.
MASK = np.array(
    [
        [1, 1, 1, 1, 1],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1],
        [0, 1, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ],
    bool,
)


def events(width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(*MASK.shape, width)).astype("f4")


def summarize(layer, x, mask, **kwargs):
    return ops.convert_to_numpy(layer(x, mask=ops.convert_to_tensor(mask), **kwargs))


def made(kind, width=3):
    layer = t4r.SessionSummary(kind)
    layer.build((None, None, width))
    for weight in layer.weights:
        # Biases too, so that each part counts.
        weight.assign(keras.random.normal(weight.shape, seed=len(weight.shape)))
    return layer


def reference(layer, x, mask):
    """By the definition, session by session."""
    rows = []
    for events, real in zip(x, mask, strict=True):
        events = events[real]
        if not len(events):
            rows.append(np.zeros(x.shape[-1]))
        elif layer.kind == "attention":
            w, b = map(ops.convert_to_numpy, (layer.key.kernel, layer.key.bias))
            query = ops.convert_to_numpy(layer.query)[:, 0]
            score = np.exp(np.tanh(events @ w + b) @ query)
            rows.append(score / score.sum() @ events)
        else:
            by = {"first": lambda e: e[0], "last": lambda e: e[-1]}
            by |= {"mean": lambda e: e.mean(0), "max": lambda e: e.max(0)}
            rows.append(by[layer.kind](events))
    return np.array(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_its_definition_says_wherever_padding_stands(kind):
    layer, x = made(kind), events()
    y = summarize(layer, x, MASK)
    np.testing.assert_allclose(y, reference(layer, x, MASK), atol=1e-6)
    assert not y[-1].any()


@pytest.mark.parametrize("garbage", [1e30, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_at_padding_counts_for_nothing(kind, garbage):
    layer, x = made(kind), events()
    expected = summarize(layer, x, MASK)
    x[~MASK] = garbage
    np.testing.assert_array_equal(summarize(layer, x, MASK), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_more_padding_changes_nothing(kind):
    layer, x = made(kind), events()
    expected = summarize(layer, x, MASK)
    for before, after in ((0, 4), (3, 0), (2, 2)):
        room = (before, after)
        longer = np.pad(x, ((0, 2), room, (0, 0)), constant_values=7.0)
        mask = np.pad(MASK, ((0, 2), room))
        y = summarize(layer, longer, mask)
        np.testing.assert_allclose(y[:6], expected, rtol=0, atol=1e-6)
        assert not y[6:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_real_events_only_and_are_numbers(kind):
    class Model(keras.Model):
        """The events themselves are the weights."""

        def __init__(self, layer):
            super().__init__()
            self.layer = layer
            x = events()
            x[~MASK] = 1e30
            self.x = self.add_weight(shape=x.shape, name="x")
            self.x.assign(x)

        def call(self, mask):
            y = self.layer(ops.convert_to_tensor(self.x), mask=mask)
            return ops.sum(ops.square(y + 1.0)[:, :, None], axis=(1, 2))[:, None]

    model = Model(made(kind))
    model.compile(keras.optimizers.SGD(0.01), loss=lambda y, y_pred: y_pred)
    before = {w.path: ops.convert_to_numpy(w) for w in model.weights}
    model.fit(MASK, np.zeros((6, 1)), batch_size=6, shuffle=False, verbose=0)
    for weight in model.trainable_weights:
        after = ops.convert_to_numpy(weight)
        assert np.isfinite(after).all()
        moved = after != before[weight.path]
        if weight is model.x:
            assert not moved[~MASK].any()
            # Each event has a part in a mean, and one of them in a last.
            assert moved.any((1, 2)).tolist() == MASK.any(1).tolist()
            if kind in ("mean", "attention"):
                assert moved.any(2)[MASK].all()
        else:
            assert moved.any()


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_the_mask_that_the_input_carries(kind):
    layer, x = made(kind), ops.convert_to_tensor(events())
    expected = summarize(layer, x, MASK)
    y = layer(AttachMask()((x, ops.convert_to_tensor(MASK))))
    np.testing.assert_array_equal(ops.convert_to_numpy(y), expected)
    assert getattr(y, "_keras_mask", None) is None
    # One that is given counts, whatever the input carries; numbers serve as bools.
    carries = AttachMask()((x, ops.ones(MASK.shape, "bool")))
    y = layer(carries, mask=ops.convert_to_tensor(MASK.astype("int32")))
    np.testing.assert_array_equal(ops.convert_to_numpy(y), expected)


def test_without_a_mask_it_refuses():
    layer = t4r.SessionSummary("mean", name="whole_session")
    with pytest.raises(ValueError, match="'whole_session' cannot tell events from"):
        layer(events())
    x = keras.Input((None, 3))
    model = keras.Model(x, layer(x))
    with pytest.raises(ValueError, match="input carries no mask"):
        model.predict(events(), verbose=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"kind": "cls"}, "first, last, mean, max, attention")]
    + [({"kind": "last", "units": 4}, "learns nothing")]
    + [({"kind": "attention", "units": 0}, "should be 1 or more")],
)
def test_it_refuses_what_makes_no_sense(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        t4r.SessionSummary(**arguments)
    with pytest.raises(ValueError, match=r"\(batch, time, width\)"):
        t4r.SessionSummary()(np.zeros((2, 3)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision_of_long_sessions(kind, policy):
    layer = t4r.SessionSummary(kind, dtype=policy)
    x = np.full((2, 3000, 4), 60.0, "float32")
    mask = np.arange(3000)[None] < np.array([[3000], [0]])
    y = layer(x, mask=ops.convert_to_tensor(mask))
    assert keras.backend.standardize_dtype(y.dtype) == policy[6:]
    assert {w.dtype for w in layer.weights} <= {"float32"}
    y = ops.convert_to_numpy(ops.cast(y, "float32"))
    np.testing.assert_allclose(y[0], 60.0, rtol=1e-2)
    assert not y[1].any()


@keras.saving.register_keras_serializable(package="test_session_summary")
class UsersLayer(keras.layers.Layer):
    """Has only a `call`, as many layers of users do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.summary = t4r.SessionSummary("mean")

    def call(self, x):
        return self.summary(x) * 2.0

    def compute_mask(self, inputs, previous_mask=None):
        return None


def test_a_users_layer_may_hold_one():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
    model = keras.Model(ids, [UsersLayer()(x), t4r.SessionSummary("mean")(x)])
    twice, once = model.predict(np.array([[3, 4, 0], [0, 0, 5]]), verbose=0)
    np.testing.assert_allclose(twice, 2 * once, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_back_between_keras_layers_and_nested_models(kind, tmp_path):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
    encoder = keras.Model(ids, keras.layers.Dense(4)(x), name="encoder")
    again, outside = keras.Input((None,), dtype="int32"), keras.Input((None,))
    x = keras.layers.LayerNormalization()(encoder(again))
    carried = t4r.SessionSummary(kind)(x)
    given = t4r.SessionSummary(kind)(x, mask=ops.not_equal(outside, 0))
    model = keras.Model([again, outside], keras.layers.Dense(2)(carried + given))
    data = [np.array([[3, 4, 0], [0, 5, 0]]), np.array([[1.0, 0, 0], [1, 1, 0]])]
    expected = model.predict(data, verbose=0)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    rebuilt = keras.Model.from_config(model.get_config())
    for other in (clone, rebuilt):
        other.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone, rebuilt):
        np.testing.assert_allclose(
            other.predict(data, verbose=0), expected, rtol=0, atol=1e-6
        )


def test_it_serializes():
    layer = t4r.SessionSummary("attention", units=5, name="summary")
    config = keras.saving.serialize_keras_object(layer)
    loaded = keras.saving.deserialize_keras_object(config)
    assert loaded.get_config() == layer.get_config()


# Lawful under the scheme, in training.

IDS = np.array([[5, 6, 7, 8, 0], [9, 4, 0, 0, 0], [3, 3, 2, 5, 7]], "int32")


def changed(ids, where):
    """Other items, with other vectors, at the places `where`."""
    return np.where(where, ids + 20, ids)


@pytest.mark.parametrize("kind", KINDS)
def test_in_training_it_sees_no_hidden_item(kind):
    table = keras.layers.Embedding(40, 3)
    layer = made(kind)
    ids = np.tile(IDS, (5, 1))

    def training(ids):
        scheme = t4r.MaskedLanguageModeling(0.5, seed=3)
        scheme.build((None, None, 3))
        scheme.mask_embedding.assign([0.1, -0.1, 0.0])
        x, targets = scheme(table(ids), ids, training=True)
        return ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(targets)

    expected, targets = training(ids)
    hidden = targets > 0
    assert hidden.any(1).all() and not hidden.all(1).any()
    np.testing.assert_array_equal(training(changed(ids, hidden))[0], expected)
    # And the test would see it.
    assert (training(changed(ids, ~hidden & (ids > 0)))[0] != expected).any()


@pytest.mark.parametrize("kind", KINDS)
def test_in_training_it_sees_no_last_item(kind):
    table = keras.layers.Embedding(40, 3)
    layer = made(kind)
    last = (IDS > 0) & (np.pad(IDS, ((0, 0), (0, 1)))[:, 1:] == 0)

    def training(ids):
        # The mask that it carries covers the events that have a later one.
        x, _ = t4r.CausalLanguageModeling()(table(ids), ids, training=True)
        return ops.convert_to_numpy(layer(x))

    expected = training(IDS)
    np.testing.assert_array_equal(training(changed(IDS, last)), expected)
    before_last = np.pad(last, ((0, 0), (0, 1)))[:, 1:]
    others = before_last if kind == "last" else (IDS > 0) & ~last
    assert (training(changed(IDS, others)) != expected).any(1).all()
