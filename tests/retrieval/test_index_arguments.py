import builtins

import numpy as np
import pytest

from keras_t4r.retrieval import ExactIndex, IVFIndex

IDS, VECTORS = [2, 3, 4], np.eye(3, dtype="float32")


@pytest.mark.parametrize(
    "ids, vectors, message",
    [
        ([2, 3, 3], VECTORS, "Id 3 stands twice"),
        ([0, 3, 4], VECTORS, "reach from 0 to 4"),
        ([2, 3], VECTORS, "2 ids, but 3 vectors"),
        (IDS, np.array([[1, 0], [0, np.nan], [0, 0]]), "Row 1 of the vectors of items"),
        (IDS, np.array([[1, 0], [0, 1], [np.inf, 0]]), "Row 2 of the vectors of items"),
        (IDS, np.array([["a"], ["b"], ["c"]]), "should be numbers"),
        (IDS, np.zeros(3), "should be numbers"),
        ([], np.zeros((0, 3)), "no items"),
    ],
)
def test_items_that_are_none_are_refused(kind, ids, vectors, message):
    index = kind().build(IDS, VECTORS)
    with pytest.raises(ValueError, match=message):
        index.build(ids, vectors)
    # And it answers as before.
    assert index.search([[0.0, 2.0, 1.0]], 2)[0].tolist() == [[3, 4]]


def test_ids_are_whole_numbers(kind):
    with pytest.raises(TypeError, match="whole numbers"):
        kind().build([1.5, 2.0, 3.0], VECTORS)


def test_updates_are_of_the_same_length(kind):
    index = kind().build(IDS, VECTORS)
    with pytest.raises(ValueError, match="have 2 numbers, but those of the index 3"):
        index.update([2], [[1.0, 2.0]])
    assert len(index.update([], np.zeros((0, 3)))) == 3


@pytest.mark.parametrize(
    "queries, how, message",
    [
        ([[np.nan, 0, 0]], {"k": 1}, "Row 0 of the vectors of queries"),
        ([[1.0, 0]], {"k": 1}, "have 2 numbers, but those of the index 3"),
        (VECTORS, {"k": 0}, "k is 0"),
        (VECTORS, {"k": 1, "exclude": [[2]]}, "a row for each of the 3"),
    ],
)
def test_queries_that_are_none_are_refused(kind, queries, how, message):
    with pytest.raises(ValueError, match=message):
        kind().build(IDS, VECTORS).search(queries, **how)


def test_an_empty_index_says_so(kind, tmp_path):
    with pytest.raises(ValueError, match="holds no items: call build"):
        kind().search(VECTORS, 1)
    with pytest.raises(ValueError, match="holds no items: call build"):
        kind().save(tmp_path / "index")
    assert not list(tmp_path.iterdir())
    # Its first update is as a build.
    assert len(kind().update(IDS, VECTORS)) == 3


def test_arguments_are_checked(kind):
    with pytest.raises(TypeError, match="fingerprint"):
        kind(vocabulary=3)
    with pytest.raises(ValueError, match="chunk is 0"):
        ExactIndex(chunk=0)


def test_more_lists_than_items_are_refused(faiss):
    with pytest.raises(ValueError, match="4 lists, but there are 3 items"):
        IVFIndex(lists=4).build(IDS, VECTORS)
    with pytest.raises(ValueError, match="probes is 0"):
        IVFIndex(probes=0)


def test_without_its_library_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "faiss":
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"keras_t4r\[retrieval\]"):
        IVFIndex()
    assert len(ExactIndex().build(IDS, VECTORS)) == 3
