"""An index in `recommend`: the answers of the whole catalogue."""

import indexed_models as models
import keras
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.models.answers.excluded import excluded_ids
from keras_t4r.retrieval import ExactIndex, IVFIndex

pytestmark = pytest.mark.backends("torch")
SESSIONS = {"item_id": models.sessions(30, seed=9)}


def memory(schema):
    return t4r.TransitionMemory(schema, strength=5.0)


def copying(schema):
    copy = t4r.CopyMechanism()
    copy.set_coefficients([-1.0, -0.7, -2.0, 0.5, -0.3, -1.0])
    return copy


def no_repeat(of):
    return lambda schema: t4r.NoRepeat(of)


STEPS = {
    "head": (),
    "memory": (memory, no_repeat("last")),
    "copying": (copying, memory, no_repeat("last")),
    "hidden before": (no_repeat("session"), memory, memory),
}


@pytest.fixture(scope="module", params=STEPS, ids=str)
def model(request):
    # The others are parts of these; PyTorch shows them by themselves.
    if keras.backend.backend() == "tensorflow" and request.param in ("head", "memory"):
        pytest.skip("shown by the models with more steps")
    return models.make_model(STEPS[request.param])


@pytest.fixture(scope="module")
def plain():
    return models.make_model()


@pytest.fixture(scope="module")
def remembering():
    return models.make_model((memory, no_repeat("last")))


def assert_same(one, other, atol=1e-4):
    np.testing.assert_allclose(one["scores"], other["scores"], rtol=1e-4, atol=atol)
    assert (one["item_id"] == other["item_id"]).mean() > 0.99


@pytest.mark.parametrize("candidates, exclude_seen", [(None, False), (10, True)])
def test_an_exact_index_answers_as_the_whole_catalogue(model, exclude_seen, candidates):
    how = {"k": 10, "exclude_seen": exclude_seen}
    index = ExactIndex.of(model)
    found = model.recommend(SESSIONS, index=index, candidates=candidates, **how)
    assert_same(found, model.recommend(SESSIONS, **how))


def test_all_lists_of_an_inverted_file_do_too(model, faiss):
    # Of so few items all are in the sample that the rest is told by.
    index = IVFIndex.of(model, probes=10**6)
    found = model.recommend(SESSIONS, 10, index=index)
    assert_same(found, model.recommend(SESSIONS, 10))


@pytest.mark.parametrize(
    "head",
    [
        {"bias": False, "temperature": 3.0},
        {"temperature": 0.2, "normalize": True},
    ],
    ids=str,
)
def test_of_every_head(head):
    model = models.make_model((memory,), **head)
    found = model.recommend(SESSIONS, 10, index=ExactIndex.of(model))
    assert_same(found, model.recommend(SESSIONS, 10))


def test_of_a_model_within_a_model():
    inner = models.make_model((memory,))
    inputs = inner.schema.inputs()
    scores = t4r.NoRepeat()(inner(inputs), inputs["item_id"])
    model = t4r.SessionModel(inputs, scores)
    found = model.recommend(SESSIONS, 10, index=ExactIndex.of(model))
    assert_same(found, model.recommend(SESSIONS, 10))


def test_of_an_index_that_was_saved(plain, tmp_path):
    ExactIndex.of(plain).save(tmp_path / "index")
    index = t4r.retrieval.load_index(tmp_path / "index")
    assert_same(plain.recommend(SESSIONS, index=index), plain.recommend(SESSIONS))


def test_followers_are_candidates_however_few_the_index_gives(remembering):
    model, index = remembering, ExactIndex.of(remembering)
    wanted = model.recommend(SESSIONS, 3)
    # The network alone answers otherwise.
    with model.memory.set_aside():
        alone = model.recommend(SESSIONS, 3)
    assert (alone["item_id"] != wanted["item_id"]).mean() > 0.2
    assert_same(model.recommend(SESSIONS, 3, index=index, candidates=3), wanted)


def test_an_empty_memory_hands_the_scores_on(remembering):
    with remembering.memory.set_aside():
        found = remembering.recommend(SESSIONS, 5, index=ExactIndex.of(remembering))
        assert_same(found, remembering.recommend(SESSIONS, 5))


# Block-lists


@pytest.mark.parametrize("with_index", [False, True])
def test_excluded_items_are_not_answered(remembering, kind, with_index):
    index = kind.of(remembering) if with_index else None
    out = models.RAW[::2]
    found = remembering.recommend(SESSIONS, 10, exclude=out, index=index)
    assert np.isfinite(found["scores"]).all()
    assert not np.isin(found["item_id"], out).any()
    assert_same(found, remembering.recommend(SESSIONS, 10, exclude=out))


def test_each_session_may_have_a_list_of_its_own(remembering, kind):
    best = remembering.recommend(SESSIONS, 20)["item_id"]
    out = [row[: 2 * (n % 8)].tolist() for n, row in enumerate(best)]
    wanted = remembering.recommend(SESSIONS, 10, exclude=out, exclude_seen=True)
    for row, (ids, seen) in enumerate(zip(out, SESSIONS["item_id"], strict=True)):
        assert not np.isin(wanted["item_id"][row], ids + seen).any()
    how = {"exclude": out, "exclude_seen": True, "index": kind.of(remembering)}
    assert_same(remembering.recommend(SESSIONS, 10, **how, batch_size=7), wanted)
    assert_same(remembering.recommend(SESSIONS, 10, **how, candidates=10), wanted)


@pytest.mark.parametrize("left", [0, 4, 10, 13])
def test_answers_are_never_short(remembering, kind, left):
    # What comes last is left, and the sessions hide some of it.
    out = np.random.default_rng(3).permutation(models.RAW)[left:].tolist()
    wanted = remembering.recommend(SESSIONS, 10, exclude=out)
    found = remembering.recommend(SESSIONS, 10, exclude=out, index=kind.of(remembering))
    count = np.isfinite(found["scores"]).sum(axis=1)
    np.testing.assert_array_equal(count, np.isfinite(wanted["scores"]).sum(axis=1))
    assert count.min() >= min(left, 10) - 1
    assert (found["item_id"][~np.isfinite(found["scores"])] == -1).all()
    assert_same(found, wanted)


def test_ids_that_are_not_known_say_nothing(plain):
    wanted = plain.recommend(SESSIONS, 5)
    for out in ([10**6, 5_000_000], [], [[]] * 30, np.array([10**6])):
        assert_same(plain.recommend(SESSIONS, 5, exclude=out), wanted)


@pytest.mark.parametrize(
    "out, error, message",
    [
        ("7", TypeError, "should be a list of raw ids"),
        (7, TypeError, "should be a list of raw ids"),
        ([3, [4]], TypeError, "mixes ids and lists"),
        (pa.array([[3], None]), TypeError, "mixes ids .* which may be empty"),
        (np.array(3), TypeError, "should be a list of raw ids"),
        ({"item_id": [3]}, TypeError, "should be a list of raw ids"),
        (pd.DataFrame({"item_id": [3]}), TypeError, "is a DataFrame; it should"),
        (pl.DataFrame({"item_id": [3]}), TypeError, "is a DataFrame; it should"),
        (pa.table({"item_id": [3]}), TypeError, "is a Table; it should"),
        ([{"item_id": 3}], TypeError, "exclude: .*Struct"),
        ([[3], [4]], ValueError, "2 lists of ids, but there are 30 sessions"),
        (["a"], TypeError, "exclude: .*string"),
    ],
)
def test_lists_that_are_none_are_refused(plain, out, error, message):
    with pytest.raises(error, match=message):
        plain.recommend(SESSIONS, 5, exclude=out)


def ids_of(exclude, sessions=2):
    found = excluded_ids(exclude, sessions, None, 10)
    return [row[row > 0].tolist() for row in found]


@pytest.mark.parametrize(
    "kind",
    [
        tuple,
        np.array,
        pa.array,
        pl.Series,
        pd.Series,
        iter,
        ops.convert_to_tensor,
    ],
)
def test_lists_of_any_kind_are_taken(kind):
    assert ids_of(kind([3, 4])) == [[3, 4], [3, 4]]
    assert ids_of(kind([[3], [4]])) == [[3], [4]]
    assert ids_of([kind([3]), kind([4])]) == [[3], [4]]


def test_a_masked_id_is_none():
    assert ids_of(np.ma.array([[3], [4]], mask=[[0], [1]])) == [[3], []]
    assert ids_of([np.ma.masked, 4]) == [[4], [4]]


# Whose index it is


def test_an_index_of_another_vocabulary_is_refused(plain):
    other = models.make_model(vocabulary=t4r.Vocabulary(models.RAW[::-1]), fit=False)
    with pytest.raises(ValueError, match="of another vocabulary"):
        plain.recommend(SESSIONS, index=ExactIndex.of(other))
    with pytest.raises(ValueError, match="of another vocabulary"):
        ExactIndex.of(other).refresh(plain)
    nameless = ExactIndex().build(*plain.item_vectors())
    with pytest.raises(ValueError, match="of another vocabulary"):
        plain.recommend(SESSIONS, index=nameless)


def test_a_model_that_was_trained_further_asks_for_a_refresh(kind):
    model = models.make_model((memory,))
    index = kind.of(model)
    model.fit({"item_id": models.encoded(models.sessions(64))}, verbose=0)
    with pytest.raises(ValueError, match="refresh"):
        model.recommend(SESSIONS, index=index)
    assert index.refresh(model) is index
    assert_same(model.recommend(SESSIONS, index=index), model.recommend(SESSIONS))
    # One that diverged, in one part or another, would not be mended by it.
    for variable in model.trainable_variables:
        before = ops.convert_to_numpy(variable).copy()
        variable.assign(before * np.nan)
        with pytest.raises(ValueError, match="the model has diverged"):
            model.recommend(SESSIONS, index=index)
        variable.assign(before)


def test_a_vocabulary_that_grew_asks_for_a_refresh(kind):
    model = models.make_model(fit=False)
    index = kind.of(model)
    longer = models.VOCABULARY.extend([7001, 7002])
    grown = models.make_model(vocabulary=longer, fit=False)
    with pytest.raises(ValueError, match="holds 300 items, the model scores 302"):
        grown.recommend(SESSIONS, index=index)
    index.refresh(grown)
    assert len(index) == 302 and index.vocabulary == longer.fingerprint
    assert_same(grown.recommend(SESSIONS, index=index), grown.recommend(SESSIONS))


def test_few_changes_are_put_in_and_many_built_anew(kind, monkeypatch):
    model = models.make_model(fit=False)
    index, built = kind.of(model), []
    monkeypatch.setattr(kind, "build", lambda self, *a: built.append(1) or self)
    table = model.features.tables["item_id"]
    value = ops.convert_to_numpy(table).copy()
    value[5:50] *= 1.5
    table.assign(value)
    index.refresh(model)
    assert not built
    assert_same(model.recommend(SESSIONS, index=index), model.recommend(SESSIONS))
    table.assign(2 * value)
    index.refresh(model)
    assert built


def test_arguments_are_checked(plain):
    with pytest.raises(TypeError, match="should be an index of"):
        plain.recommend(SESSIONS, index=object())
    with pytest.raises(ValueError, match="give index="):
        plain.recommend(SESSIONS, candidates=5)
    with pytest.raises(ValueError, match="candidates is 0"):
        plain.recommend(SESSIONS, index=ExactIndex.of(plain), candidates=0)


class OnlyOdd(t4r.ScoreStep):
    def change(self, scores, items):
        odd = ops.arange(ops.shape(scores)[1]) % 2 == 1
        return ops.where(odd, scores, -float("inf"))


class OnlyOddCandidates(OnlyOdd):
    def candidates(self, items):
        return items[:, :0]

    def change_candidates(self, scores, ids, rest, items):
        return ops.where(ids % 2 == 1, scores, -float("inf")), rest


def test_a_step_of_the_users_says_how_it_goes_with_an_index():
    model = models.make_model((lambda schema: OnlyOdd(name="odd"),), fit=False)
    with pytest.raises(ValueError, match="'odd' comes after the head"):
        ExactIndex.of(model)
    model = models.make_model((lambda schema: OnlyOddCandidates(),), fit=False)
    found = model.recommend(SESSIONS, 10, index=ExactIndex.of(model), candidates=10)
    assert_same(found, model.recommend(SESSIONS, 10))


@pytest.mark.backends("jax")
def test_no_answer_depends_on_who_else_asked(remembering):
    index = ExactIndex.of(remembering)
    together = remembering.recommend(SESSIONS, 10, index=index)
    for row in (0, 13):
        one = {"item_id": [SESSIONS["item_id"][row]]}
        alone = remembering.recommend(one, 10, index=index)
        np.testing.assert_array_equal(alone["item_id"][0], together["item_id"][row])
