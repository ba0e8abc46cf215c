"""`TransitionMemory` and `NoRepeat` as steps of a graph."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends
ITEMS = 12
LEARNED = np.array([[2, 3, 4, 5], [3, 4, 3, 9], [7, 2, 3, 8]], "int32")


def scores_of(count, dtype="float32"):
    scores = np.random.default_rng(1).normal(size=(count, ITEMS)).astype(dtype)
    scores[:, :2] = -np.inf
    return scores


def make_memory(**arguments):
    memory = t4r.TransitionMemory(cardinality=ITEMS, first_id=2, **arguments)
    return memory.adapt(LEARNED)


STEPS = {"memory": make_memory, "no_repeat": t4r.NoRepeat}
steps = pytest.mark.parametrize("kind", list(STEPS))


def answer(step, *call, **arguments):
    return ops.convert_to_numpy(step(*call, **arguments))


def test_the_last_item_cannot_come_again_and_others_keep_their_scores():
    items = np.array([[2, 3, 4, 0], [5, 5, 0, 0], [6, 1, 0, 0]], "int32")
    scores = scores_of(3)
    out = answer(t4r.NoRepeat(), scores, items)
    wanted = scores.copy()
    wanted[[0, 1], [4, 5]] = -np.inf
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.backends("torch")
@steps
def test_padding_may_stand_anywhere(kind):
    step, scores = STEPS[kind](), scores_of(2)
    items = np.array([[2, 3, 4], [3, 9, 0]], "int32")
    wanted = answer(step, scores, items)
    left = np.array([[0, 0, 2, 3, 4], [0, 0, 0, 3, 9]], "int32")
    between = np.array([[0, 2, 0, 3, 4, 0], [3, 0, 0, 0, 9, 0]], "int32")
    right = np.array([[2, 3, 4, 0, 0, 0, 0], [3, 9, 0, 0, 0, 0, 0]], "int32")
    for padded in (left, between, right):
        np.testing.assert_allclose(answer(step, scores, padded), wanted, rtol=1e-5)
    rows = np.pad(items, ((0, 2), (0, 0)))
    more = answer(step, np.pad(scores, ((0, 2), (0, 0))), rows)
    np.testing.assert_allclose(more[:2], wanted, rtol=1e-5)
    # A session without events has no last item, and no evidence.
    if kind == "no_repeat":
        np.testing.assert_array_equal(more[2:], np.zeros((2, ITEMS)))
    else:
        np.testing.assert_allclose(np.exp(more[2:]), np.full((2, ITEMS), 1 / ITEMS))


def make_model(kind, twice=False):
    scores = keras.Input((ITEMS,), name="scores")
    items = keras.Input((None,), dtype="int32", name="items")
    out = STEPS[kind](name=kind)(scores, items)
    assert out.shape == (None, ITEMS) and out.dtype == "float32"
    if twice:
        out = STEPS[kind](name="again")(out, items)
    return keras.Model([scores, items], out)


ITEMS_OF_MODELS = np.array([[2, 3, 4, 0], [7, 8, 0, 0], [0, 0, 0, 0]], "int32")


@steps
@pytest.mark.parametrize("twice", [False, True])
def test_models_come_back(kind, twice, tmp_path):
    model = make_model(kind, twice)
    call = [scores_of(3), ITEMS_OF_MODELS]
    wanted = model.predict(call, verbose=0)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    rebuilt = keras.Model.from_config(model.get_config())
    for other in (clone, rebuilt):
        other.set_weights(model.get_weights())
    for other in (clone, rebuilt, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(other.predict(call, verbose=0), wanted, rtol=1e-6)


@steps
def test_one_step_serves_two_graphs_and_a_nested_model(kind):
    step = STEPS[kind]()
    scores = [keras.Input((ITEMS,)) for _ in range(2)]
    items = keras.Input((None,), dtype="int32")
    inner = keras.Model([scores[0], items], step(scores[0], items))
    nested = keras.Model([scores[1], items], inner([scores[1], items]))
    both = keras.Model([*scores, items], [step(s, items) for s in scores])
    a = scores_of(3)
    b = a[:, ::-1].copy()
    wanted = [answer(step, s, ITEMS_OF_MODELS) for s in (a, b)]
    out = both.predict([a, b, ITEMS_OF_MODELS], verbose=0)
    np.testing.assert_allclose(out[0], wanted[0], rtol=1e-6)
    np.testing.assert_allclose(out[1], wanted[1], rtol=1e-6)
    out = nested.predict([a, ITEMS_OF_MODELS], verbose=0)
    np.testing.assert_allclose(out, wanted[0], rtol=1e-6)


@steps
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_scores_stay_float32_in_mixed_precision(kind, policy):
    plain = answer(STEPS[kind](), scores_of(3), ITEMS_OF_MODELS)
    mixed = STEPS[kind](dtype=policy)
    out = mixed(scores_of(3), ITEMS_OF_MODELS)
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(out), plain)
    halves = scores_of(3, "float16")
    out = mixed(halves, ITEMS_OF_MODELS)
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    wanted = answer(STEPS[kind](), halves.astype("float32"), ITEMS_OF_MODELS)
    np.testing.assert_array_equal(ops.convert_to_numpy(out), wanted)


@steps
def test_in_training_scores_are_handed_on_and_the_model_trains(kind):
    step = STEPS[kind]()
    empty = step(np.zeros((3, 0), "float32"), ITEMS_OF_MODELS, training=True)
    assert tuple(empty.shape) == (3, 0)
    items = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(ITEMS, 4, mask_zero=True)(items)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(items, step(keras.layers.Dense(ITEMS)(x), items))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    history = model.fit(ITEMS_OF_MODELS[:2], np.array([5, 9]), verbose=0)
    assert np.isfinite(history.history["loss"][0])


@steps
def test_what_is_no_matrix_of_ids_is_refused(kind):
    step = STEPS[kind]()
    with pytest.raises(ValueError, match="needs integer ids of items, not float32"):
        step(scores_of(2), np.zeros((2, 3), "float32"))
    with pytest.raises(ValueError, match="takes scores"):
        step(scores_of(2), np.zeros((2,), "int32"))
    with pytest.raises(ValueError, match="needs integer ids of items, not float32"):
        step(keras.Input((ITEMS,)), keras.Input((None,)))
