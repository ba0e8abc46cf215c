"""The promises of the design, over a pairwise covering of all they must not hang on."""

import contextlib
import dataclasses
import pickle

import keras
import numpy as np
import pyarrow as pa
import pytest
from keras import ops
from session_cases import CASES, FACTORS, OF_BACKEND, pairs_of, valid_pairs
from session_models import (
    CATEGORIES,
    DRAWN_FOR_EACH_TARGET,
    ITEMS,
    ask,
    batch,
    events,
    infer,
    loader_of,
    losses_of,
    make_model,
    random_sessions,
    raw_ids,
    schema_of,
    seeded,
    state_of,
    train,
)

import keras_t4r as t4r
from keras_t4r.backend import shapes_are_fixed
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.layers.schemes.scheme_mask import is_last
from keras_t4r.models.graph import layers_of, nodes_of


def answers_of(model, x):
    """What each output of a model says, by name: `"item"` are the scores."""
    y = infer(model, x)
    y = y if isinstance(y, dict) else {"item": y}
    return {name: ops.convert_to_numpy(value) for name, value in y.items()}


def scores_of(model, x):
    return answers_of(model, x)["item"]


def assert_same(one, two, atol=1e-5):
    assert set(one) == set(two)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-6, atol=atol, err_msg=name)


def head_call(model):
    """The call of the head of items: in the model's own graph, which has the masks."""
    head = item_head(model)
    (call,) = [node for node in nodes_of(model) if node.operation is head]
    return call


def item_head(model):
    (head,) = [head for head in model.heads.values() if head.target is None]
    return head


def alone(model):
    """A `with` in which the network answers without its memory."""
    return model.memory.set_aside() if model.memory else contextlib.nullcontext()


def wider(x, columns=3, rows=2):
    """The same sessions with more padding, on both axes."""
    grown = {}
    for name, value in x.items():
        pads = [(0, rows), (0, columns)][: value.ndim]
        grown[name] = np.pad(value, pads)
    return grown


def with_one_item_changed(case, x):
    """`(before, after, t)`: full sessions, each once for every event `t`, and the same
    with another item there. Both are of one shape, so they round alike."""
    length, first = case.schema_length, case.first_id
    t = np.tile(np.arange(length), len(x["item_id"]))
    before = {name: np.repeat(value, length, axis=0) for name, value in x.items()}
    items, rows = before["item_id"].copy(), np.arange(len(t))
    items[rows, t] = (items[rows, t] - first + 9) % ITEMS + first
    return before, {**before, "item_id": items}, t


def assert_ranked(case, logs, answer, targets):
    """That the metrics of an evaluation are those of an answer with all items."""
    item = raw_ids(case, "item_id", targets)
    hits = np.array(
        [row == of for row, of in zip(answer["item_id"], item, strict=True)]
    )
    scores = answer["scores"]
    hits &= np.isfinite(scores)
    # Every target's place counts, wherever it stands; of those that score alike it has
    # the last. What NoRepeat left out has none.
    of_target = scores[np.arange(len(hits)), hits.argmax(1)]
    place = np.where(hits.any(1), (scores >= of_target[:, None]).sum(1), np.inf)
    left_out = 0 if case.step != "no-repeat" else len(place) / 4
    assert np.isinf(place).sum() <= left_out
    prefix = f"{case.output}_" if case.output else ""
    seen = place <= 4
    expected = {
        f"mrr_{ITEMS}": (1 / place).mean(),
        "recall_4": seen.mean(),
        "ndcg_4": np.where(seen, 1 / np.log2(1 + place), 0).mean(),
    }
    for name, value in expected.items():
        assert logs[prefix + name] == pytest.approx(value, abs=1e-6), name


# 0. The cases.


@pytest.mark.backends
def test_every_two_values_stand_together_in_a_case():
    shown = set().union(*(pairs_of(dataclasses.asdict(case)) for case in CASES))
    assert shown.issuperset(valid_pairs())


@pytest.mark.parametrize("backend", OF_BACKEND)
def test_every_backend_sees_every_value(backend):
    cases = OF_BACKEND[backend]
    for factor, values in FACTORS.items():
        seen = {getattr(case, factor) for case in cases}
        # Elsewhere, the tests of bodies show them.
        if factor != "body" or backend == "torch":
            assert seen == set(values), factor


def test_every_case_runs_on_one_backend():
    everywhere = [case for cases in OF_BACKEND.values() for case in cases]
    assert sorted(map(str, everywhere)) == sorted(map(str, CASES))


# 1. Evaluating is serving.


def test_evaluating_ranks_what_serving_answers(case, model):
    # Not the trained one, to which all random sessions are alike.
    table = random_sessions(case, 60, seed=1)
    loader = loader_of(case, table, 60, target="last")
    logs = model.evaluate(loader, verbose=0, return_dict=True)

    before = events(table, slice(-1))
    if case.loader_length:
        before = events(before, slice(-case.loader_length, None))
    answer = ask(case, model, before, k=ITEMS)
    assert answer["session_id"].tolist() == table["session_id"].to_pylist()
    assert_ranked(case, logs, answer, [row[-1] for row in table["item_id"].to_pylist()])


def test_evaluating_reads_no_more_than_serving(case, model):
    if case.features_length is None:
        pytest.skip("the model reads all that the schema allows")
    table = random_sessions(case, 60, seed=1, shortest=case.schema_length)
    length = case.schema_length
    loaders = [
        loader_of(case, table, 60, target=target, max_length=length - bool(target))
        for target in (None, "last")
    ]
    with pytest.raises(ValueError, match=f"the model reads {case.features_length}"):
        model.fit(loaders[0], verbose=0)
    with pytest.raises(ValueError, match=f"the model reads {case.history}"):
        model.evaluate(loaders[1], verbose=0)
    # Arrays may be longer.
    x, y = loaders[1][0]
    assert x["item_id"].shape[1] > case.history
    logs = model.evaluate(x, y, batch_size=60, verbose=0, return_dict=True)
    answer = ask(case, model, events(table, slice(-1)), k=ITEMS)
    assert_ranked(case, logs, answer, [row[-1] for row in table["item_id"].to_pylist()])


@pytest.mark.backends("torch")
def test_the_target_is_not_among_the_inputs(case, model):
    table = random_sessions(case, 6, seed=2)
    sessions = table["item_id"].to_pylist()

    def scores(seed):
        rng = np.random.default_rng(seed)
        items = [
            [*row[:-1], int(rng.integers(case.first_id, ITEMS + case.first_id))]
            for row in sessions
        ]
        place = table.column_names.index("item_id")
        column = pa.array(items, table.schema.field(place).type)
        other = table.set_column(place, "item_id", column)
        return scores_of(model, loader_of(case, other, 6, target="last")[0][0])

    np.testing.assert_array_equal(scores(3), scores(4))


@pytest.mark.backends("torch")
def test_what_is_asked_is_what_was_trained(case, model, monkeypatch):
    # Where training asks for the last event alone, its loss is that of what serving
    # answers without it.
    table = random_sessions(case, 6, seed=7)
    scheme = next(x for x in layers_of(model) if isinstance(x, MaskingScheme))
    if case.causal:
        monkeypatch.setattr(scheme, "last_only", True)
    else:
        monkeypatch.setattr(scheme, "_choose", is_last)
    if case.scheme == "plm-all":
        monkeypatch.setattr(scheme, "permute_all", False)
    head = item_head(model)
    monkeypatch.setattr(head, "_loss", t4r.losses.FullSoftmax())
    schema = schema_of(case)
    (x,) = t4r.KerasSequenceLoader(table, schema, 6, shuffle=False)[0]
    (loss,) = losses_of(model, x, [head])

    # Of the head itself: steps after it change the answer.
    scores = head_call(model).outputs[0]
    x, y = t4r.KerasSequenceLoader(table, schema, 6, target="last")[0]
    z = ops.convert_to_numpy(keras.Model(model.input, scores)(x, training=False))
    z = z[:, case.first_id :].astype("float64")
    of_target = z[np.arange(6), y - case.first_id]
    expected = np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - of_target
    assert loss == pytest.approx(expected.mean(), abs=1e-5, rel=1e-5)


# 2. No leak.


def test_a_later_item_changes_no_earlier_output(case, model):
    if not case.causal:
        pytest.skip("a two-way scheme has no earlier and later; see the random log")
    length = case.schema_length
    one, other, t = with_one_item_changed(case, batch(case, 4, shortest=length))
    other["age"] = one["age"].copy()
    other["age"][np.arange(len(t)), t] += 5.0
    body = keras.Model(model.input, head_call(model).input_tensors[0])
    before, after = (
        ops.convert_to_numpy(infer(body, x, training=True)) for x in (one, other)
    )
    position = np.arange(before.shape[1])[None, :]
    earlier = position < t[:, None]
    np.testing.assert_allclose(after[earlier], before[earlier], atol=1e-6)
    # The last event has no later one: in training it is padding.
    itself = (position == t[:, None]) & (position < length - 1)
    assert (np.abs(after - before).max(axis=2)[itself] > 1e-3).all()


def test_nothing_beats_chance_on_random_sessions(case, trained, monkeypatch):
    model = trained
    count = 2000
    fresh = random_sessions(case, count, seed=6)

    # Evaluation: whoever saw the target would rank it first.
    test = loader_of(case, fresh, 500, target="last")
    logs = model.evaluate(test, verbose=0, return_dict=True)
    recall = logs[f"{case.output}_recall_4" if case.output else "recall_4"]
    chance = 4 / ITEMS
    assert abs(recall - chance) < 4 * np.sqrt(chance * (1 - chance) / count)

    # Training: the likelihood of targets that it does not know is that of a guess,
    # whatever loss it trained on.
    guess = {None: np.log(ITEMS), "last_category": np.log(CATEGORIES)}
    for head in model.heads.values():
        monkeypatch.setattr(head, "_loss", t4r.losses.FullSoftmax())
    x, *_ = loader_of(case, fresh, count)[0]
    heads = model.heads.values()
    for head, loss in zip(heads, losses_of(model, x, heads), strict=True):
        assert loss > guess[head.target] - 0.02, head.target


# 3. Padding is nothing.


@pytest.mark.backends("torch")
def test_more_padding_changes_no_answer(case, model):
    x = batch(case, 5)
    wide = answers_of(model, wider(x))
    assert_same(answers_of(model, x), {name: y[:5] for name, y in wide.items()})


def test_more_padding_changes_no_loss(case, model):
    if not case.causal:
        pytest.skip(
            "what is hidden at random depends on the shape; the head has its test"
        )
    if shapes_are_fixed() and case.loss in DRAWN_FOR_EACH_TARGET:
        pytest.skip("padding has draws of its own where shapes are fixed")
    states = [ops.convert_to_numpy(v) for v in model.non_trainable_variables]

    def loss(x):
        # The same negatives are drawn.
        for variable, state in zip(model.non_trainable_variables, states, strict=True):
            variable.assign(state)
        return losses_of(model, x, [model])[0]

    x = batch(case, 5)
    assert loss(wider(x)) == pytest.approx(loss(x), abs=1e-5)


def test_padding_and_unknown_are_never_recommended(case, model):
    x = batch(case, 5)
    scores = scores_of(model, x)
    assert np.isneginf(scores[:, : case.first_id]).all()
    answered = np.isfinite(scores[:, case.first_id :])
    last = np.take_along_axis(x["item_id"], (x["item_id"] > 0).sum(1)[:, None] - 1, 1)
    repeats = np.arange(ITEMS)[None, :] + case.first_id == last
    np.testing.assert_array_equal(answered, ~repeats | (case.step != "no-repeat"))


@pytest.mark.backends("torch")
def test_an_empty_session_gets_an_answer(case, model):
    x = {k: np.zeros_like(v) for k, v in batch(case, 2).items()}
    assert np.isfinite(scores_of(model, x)[:, case.first_id :]).all()


class Lacking(keras.utils.PyDataset):
    """Batches whose events lack side features, beside the padding of short sessions.

    A loader refuses them; who has arrays, or a loader of his own, may have them."""

    def __init__(self, loader):
        super().__init__()
        self.loader = loader

    def __len__(self):
        return len(self.loader)

    def __getitem__(self, index):
        x, *y = self.loader[index]
        x["last_category"][::2] = 0
        x["country"][::3] = 0
        return (x, *y)


def test_padding_is_never_trained(case, trained):
    model = trained
    loader = loader_of(case, random_sessions(case, 64), 64, bucket=False)
    model.fit(Lacking(loader), verbose=0)
    for name, table in model.features.tables.items():
        table = ops.convert_to_numpy(table)
        assert table[1:].any(), name
        assert not table[0].any(), name


# 4. The whole history counts.


@pytest.mark.backends("torch")
def test_every_item_of_the_history_counts(case, model):
    x = batch(case, 3, shortest=case.schema_length)
    one, other, t = with_one_item_changed(case, x)
    with alone(model):
        before, after = scores_of(model, one), scores_of(model, other)
    both = np.isfinite(after) & np.isfinite(before)
    change = np.where(both, np.nan_to_num(after) - np.nan_to_num(before), 0)
    dead = t[np.abs(change).max(axis=1) <= 1e-6]
    assert not len(dead), f"events {sorted(set(dead))} of {case.schema_length}"


@pytest.mark.backends("torch")
def test_truncation_keeps_the_newest(case, model):
    assert model.max_history == case.history
    table = random_sessions(case, 3, shortest=case.schema_length)
    newest = events(table, slice(-case.history, None))
    long, short = (ask(case, model, t, k=5) for t in (table, newest))
    np.testing.assert_array_equal(long["item_id"], short["item_id"])
    np.testing.assert_allclose(long["scores"], short["scores"], atol=1e-6)


# 5. What is saved comes back.


def assert_same_raw_values(one, two):
    for name in ("item_id", "last_category"):
        assert two.features.vocabulary(name) == one.features.vocabulary(name)


def test_a_keras_file_gives_the_same_scores_and_keeps_the_tie(case, model, tmp_path):
    x = batch(case, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(answers_of(model, x), answers_of(loaded, x))
    assert_same_raw_values(model, loaded)
    assert len(loaded.weights) == len(model.weights)
    assert [m.name for m in loaded.metrics] == [m.name for m in model.metrics]
    with alone(loaded):
        before = scores_of(loaded, x)
        tables = loaded.features.tables
        if "item" not in tables:  # it is computed from what the encoder has
            return
        table = tables["item"]
        row = np.zeros(table.shape, "float32")
        # An item that is in no session: only through the tie does its score change.
        (item, *_) = set(range(case.first_id, ITEMS)) - set(x["item_id"].ravel())
        row[item] = 1.0
        table.assign(table + row)
        change = np.abs(scores_of(loaded, x)[:, item] - before[:, item])
    assert (change > 1e-3).all() == (case.table != "own")


def test_config_and_weights_give_the_same_scores(case, model, tmp_path):
    x = batch(case, 4)
    expected = answers_of(model, x)
    clone = type(model).from_config(model.get_config())
    clone.set_weights(model.get_weights())
    assert_same(expected, answers_of(clone, x))
    assert_same_raw_values(model, clone)
    model.save_weights(tmp_path / "model.weights.h5")
    other = keras.models.clone_model(model)
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same(expected, answers_of(other, x))
    assert_same_raw_values(model, other)


@pytest.mark.backends("torch")
def test_a_model_saved_before_its_first_call_comes_back(case, tmp_path):
    model = make_model(case)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = batch(case, 2)
    assert_same(answers_of(model, x), answers_of(loaded, x))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's"
)
@pytest.mark.usefixtures("one_of_a_sort")
def test_a_saved_model_gives_the_same_scores(case, model, tmp_path):
    import tensorflow as tf

    x = batch(case, 4)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    served = loaded.serve({k: tf.constant(v) for k, v in x.items()})
    served = served if isinstance(served, dict) else {"item": served}
    assert_same(answers_of(model, x), {k: v.numpy() for k, v in served.items()})


# 6. Same seed, same run.


@pytest.mark.usefixtures("one_of_a_sort")
def test_the_same_seed_gives_the_same_run(case, training):
    again = seeded(case)
    assert train(case, again) == training.losses
    for a, b in zip(training.after, state_of(again), strict=True):
        np.testing.assert_array_equal(a, b)


# 9. No pickle.


@pytest.mark.usefixtures("one_of_a_sort")
def test_saving_and_loading_never_pickles(model, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was pickled")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    model.save(tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras")
