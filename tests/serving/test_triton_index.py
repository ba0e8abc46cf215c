"""Answers through an index of items, from a running Triton."""

import json
import os

import keras
import numpy as np
import pytest

import keras_t4r as t4r
from keras_t4r.files.digest import file_digest
from keras_t4r.retrieval import ExactIndex, IVFIndex

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="a SavedModel is written on the TensorFlow backend only",
)
K = 8
# Few candidates, so that steps and seen items leave fewer than k of them at first.
HOW = {
    "exact": {"k": K},
    "ivf": {"k": K, "exclude_seen": True, "candidates": K},
}


def build(build_model, schema, sessions):
    """A model with steps after the head: one that reads all scores, one that hides."""
    memory, no_repeat = t4r.TransitionMemory(schema), t4r.NoRepeat("last")
    model = build_model(
        schema, memory=lambda scores, items: no_repeat(memory(scores, items), items)
    )
    memory.update_state(t4r.KerasSequenceLoader(sessions, schema, 128))
    return model


@pytest.fixture(scope="module")
def indexed(build_model, schema, sessions):
    """A model and its index, of each kind that can be had here."""
    remembering = build(build_model, schema, sessions)
    found = {"exact": (remembering, ExactIndex.of(remembering))}
    # Without a memory's followers it is the index that decides.
    plain = build_model(schema, memory=t4r.NoRepeat("last"))
    try:
        found["ivf"] = plain, IVFIndex.of(plain, probes=1, lists=30)
    except ImportError:
        pass  # the test of it is left out
    return found


@pytest.fixture(scope="module")
def repository(triton, indexed, etl, tmp_path_factory):
    path = tmp_path_factory.mktemp("indexed") / "models"
    for name, (model, index) in indexed.items():
        how = {"index": index, **HOW[name]}
        t4r.export_tensorflow_ensemble(model, etl, name, path, **how)
    return path


@pytest.fixture(scope="module")
def server(repository, indexed):
    with t4r.TritonServer(repository, load=list(indexed)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with t4r.TritonClient(server.http_url) as client:
        yield client


def first(clicks, rows):
    return {name: values[:rows] for name, values in clicks.items()}


def assert_same(answers, expected):
    assert [row["session_id"] for row in answers] == expected["session_id"].tolist()
    assert [row["item_id"] for row in answers] == expected["item_id"].tolist()
    scores = np.array([row["scores"] for row in answers])
    np.testing.assert_allclose(scores, expected["scores"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", HOW)
def test_served_answers_are_those_of_recommend_with_the_index(
    client, indexed, etl, clicks, kind
):
    if kind not in indexed:
        pytest.skip("faiss is not installed")
    model, index = indexed[kind]
    rows = first(clicks, 400)
    sessions = etl.transform(rows)
    expected = model.recommend(sessions, index=index, **HOW[kind])
    answers = client.recommend(kind, rows)
    assert_same(answers, expected)
    # There are many more items than k, so no answer is short.
    assert np.isfinite([row["scores"] for row in answers]).all()
    exact = model.recommend(sessions, k=K, exclude_seen=kind == "ivf")
    if kind == "exact":
        assert_same(answers, exact)
    else:
        for row in answers:
            own = np.array(rows["session_id"]) == row["session_id"]
            assert not set(np.array(rows["item_id"])[own]) & set(row["item_id"])
        # It is the index that says what is answered.
        assert (expected["item_id"] != exact["item_id"]).mean() > 0.01


@pytest.mark.parametrize("kind", HOW)
def test_excluded_items_are_left_out_and_answers_are_not_shorter(
    client, indexed, etl, clicks, kind
):
    if kind not in indexed:
        pytest.skip("faiss is not installed")
    model, index = indexed[kind]
    rows = first(clicks, 60)
    sessions = etl.transform(rows)
    how = {"index": index, **HOW[kind]}
    best = model.recommend(sessions, **how)["item_id"]
    each = [row[: n % 5].tolist() for n, row in enumerate(best)]
    for exclude in (sorted(set(best[:4].ravel())), each):
        answers = client.recommend(kind, rows, exclude=exclude)
        assert_same(answers, model.recommend(sessions, exclude=exclude, **how))
        assert np.isfinite([row["scores"] for row in answers]).all()


def test_a_bad_request_gets_its_sentence_and_the_next_is_answered(client, clicks):
    rows = first(clicks, 3)
    wrong = {**rows, "timestamp": ["yesterday"] * 3}
    with pytest.raises(RuntimeError, match="'yesterday' is not a time"):
        client.recommend("exact", wrong)
    assert client.recommend("exact", rows)


# The last two change what is served.


def test_a_model_and_index_of_one_more_item_take_over(
    server, client, repository, build_model, etl, clicks, tmp_path
):
    last = {name: values[-1:] for name, values in clicks.items()}
    more = {**last, "item_id": ["launched today"]}
    clicks = {name: [*clicks[name], *more[name]] for name in clicks}
    etl = t4r.SessionETL(**vars(etl.config)).fit(clicks)
    etl.write(clicks, tmp_path / "sessions", progress=False)
    schema = t4r.Schema.load(tmp_path / "sessions" / "schema.pbtxt")
    model = build(build_model, schema, tmp_path / "sessions")
    k = len(etl.vocabulary("item_id"))
    how = {"k": k, "index": ExactIndex.of(model)}
    t4r.export_tensorflow_ensemble(
        model, etl, "exact", repository, overwrite=True, **how
    )
    rows = first(clicks, 30)
    assert len(client.recommend("exact", rows)[0]["item_id"]) == K
    server.load("exact")
    with t4r.TritonClient(server.http_url) as client:
        answers = client.recommend("exact", rows)
    assert_same(answers, model.recommend(etl.transform(rows), **how))
    assert all("launched today" in row["item_id"] for row in answers)


class Payload:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_an_index_that_runs_something_is_not_loaded(server, repository, tmp_path):
    """Of other damage see `tests/retrieval/test_index_files.py`."""
    folder = repository / "exact_tf" / "1" / "index"
    np.save(folder / "ids.npy", np.array([Payload(tmp_path / "ran")]))
    about = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    about["sha256"]["ids"] = file_digest(folder / "ids.npy")
    (folder / "index.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"says: .*ids\.npy is missing or damaged"):
        server.load("exact_tf")
    assert not (tmp_path / "ran").exists()
