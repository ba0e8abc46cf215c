"""What every kind of index does, compared with sorting all scores."""

import numpy as np
import pytest

from keras_t4r.retrieval import ExactIndex


def sorted_all(ids, vectors, queries, k, exclude=()):
    """Best first, of equal scores the lower id: by a sort of all."""
    scores = queries.astype("float64") @ vectors.astype("float64").T
    scores[:, np.isin(ids, exclude)] = -np.inf
    order = np.lexsort((np.broadcast_to(ids, scores.shape), -scores), axis=1)[:, :k]
    return ids[order], np.take_along_axis(scores, order, axis=1)


def whole(kind, **arguments):
    """An index that looks at all items."""
    return kind(**arguments) if kind is ExactIndex else kind(probes=10**6, **arguments)


@pytest.mark.parametrize("chunk", [1, 70, 1000, 3000, 5000])
@pytest.mark.parametrize("k", [1, 20, 3000])
def test_the_exact_index_answers_as_a_sort_whatever_the_chunk(items, chunk, k):
    ids, vectors, queries = items
    if chunk == 1:
        ids, vectors, queries = ids[:50], vectors[:50], queries[:3]
    index = ExactIndex(chunk=chunk).build(ids, vectors)
    found, scores = index.search(queries, min(k, len(ids)))
    wanted, of_wanted = sorted_all(ids, vectors, queries, min(k, len(ids)))
    np.testing.assert_allclose(scores, of_wanted, atol=1e-4)
    # float32 may turn round what is nearly equal.
    assert (found == wanted).mean() > 0.999
    assert found.dtype == "int32" and scores.dtype == "float32"


@pytest.mark.parametrize("chunk", [1, 3, 4, 64])
@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_of_equal_scores_the_lower_id_goes_first(chunk, k):
    ids = np.array([9, 3, 7, 5, 11, 2, 4, 8, 6, 12])
    vectors = np.array([1, 0, 1, 1, 0, 2, 0, 1, 2, 0], "float32")[:, None]
    queries = np.array([[1.0], [-1.0], [0.0]])
    found, _ = ExactIndex(chunk=chunk).build(ids, vectors).search(queries, k)
    wanted, _ = sorted_all(ids, vectors, queries, k)
    np.testing.assert_array_equal(found, wanted)


def test_k_beyond_the_items_leaves_the_last_places_empty(kind, items):
    ids, vectors, queries = (x[:5] for x in items)
    found, scores = whole(kind).build(ids, vectors).search(queries, 8)
    np.testing.assert_array_equal(np.sort(found[:, :5]), np.tile(np.sort(ids), (5, 1)))
    assert (found[:, 5:] == 0).all() and np.isneginf(scores[:, 5:]).all()


def test_no_queries_have_no_answers(kind, items):
    ids, vectors, queries = items
    found, scores = kind().build(ids, vectors).search(queries[:0], 4)
    assert found.shape == scores.shape == (0, 4)


def test_a_query_of_nothing_finds_items_all_the_same(kind, items):
    ids, vectors, queries = items
    found, scores = kind().build(ids, vectors).search(0 * queries[:1], 4)
    assert len(set(found[0])) == 4 and (scores == 0).all()


def test_all_lists_of_an_inverted_file_are_the_catalogue(faiss, items):
    from keras_t4r.retrieval import IVFIndex

    ids, vectors, queries = items
    found, scores = whole(IVFIndex).build(ids, vectors).search(queries, 20)
    wanted, of_wanted = sorted_all(ids, vectors, queries, 20)
    np.testing.assert_allclose(scores, of_wanted, rtol=1e-5, atol=1e-4)
    assert (found == wanted).mean() > 0.999


def test_few_lists_of_an_inverted_file_find_nearly_all(faiss, items):
    from keras_t4r.retrieval import IVFIndex

    ids, vectors, queries = items
    index = IVFIndex(probes=16, lists=100).build(ids, vectors)
    found, scores = index.search(queries, 20)
    wanted, _ = sorted_all(ids, vectors, queries, 20)
    hits = [len(set(a) & set(b)) for a, b in zip(found, wanted, strict=True)]
    assert np.mean(hits) / 20 >= 0.95
    # What was found has its own score.
    place = {item: row for row, item in enumerate(ids)}
    rows = np.vectorize(place.get)(found)
    expected = np.einsum("nkd,nd->nk", vectors[rows], queries)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("left", [0, 3, 10, 40])
def test_what_is_excluded_makes_no_answer_shorter(kind, items, left):
    ids, vectors, queries = items
    index = kind().build(ids, vectors)
    out = np.random.default_rng(left).permutation(ids)[left:]
    found, scores = index.search(queries, 10, exclude=out)
    wanted, _ = sorted_all(ids, vectors, queries, min(left, 10), exclude=out)
    if left <= 10:
        np.testing.assert_array_equal(found[:, :left], wanted)
    assert (np.isfinite(scores).sum(1) == min(left, 10)).all()
    assert not np.isin(found, out).any()


@pytest.mark.parametrize("width", [1, 50, 2990])
def test_each_query_may_exclude_ids_of_its_own(kind, items, width):
    ids, vectors, queries = items
    index, random = whole(kind).build(ids, vectors), np.random.default_rng(0)
    out = np.stack([random.permutation(ids)[:width] for _ in queries])
    # The best ones first, so that it matters; and none, for one query.
    best = index.search(queries, min(width, 5))[0]
    out[:, : best.shape[1]] = best
    out[3] = 0
    found, _ = index.search(queries, 10, exclude=out)
    for row, query in enumerate(queries):
        wanted, _ = sorted_all(ids, vectors, query[None], 10, exclude=out[row])
        count = min(10, 3000 - len(set(out[row]) - {0}))
        np.testing.assert_array_equal(found[row, :count], wanted[0, :count])
        assert (found[row, count:] == 0).all()


def test_an_excluded_id_that_no_item_has_is_none_of_another_query(kind, items):
    ids, vectors, queries = items
    index = whole(kind).build(ids, vectors)
    best = index.search(queries[:2], 5)[0]
    out = np.array([[(1 << 32) + best[1, 0]], [-1]])
    np.testing.assert_array_equal(index.search(queries[:2], 5, exclude=out)[0], best)


@pytest.mark.parametrize("among", [0, 1, 300, 3000])
def test_the_sum_over_the_rest(items, among):
    ids, vectors, queries = items
    index = ExactIndex(chunk=700).build(ids, vectors)
    best = index.search(queries, max(among, 1))[0][:, :among]
    best = np.concatenate([best, 0 * best[:, :1]], axis=1)
    powers = np.exp(queries.astype("float64") @ vectors.T)
    with np.errstate(divide="ignore"):
        others = [~np.isin(ids, row) for row in best]
        wanted = np.log([p[o].sum() for p, o in zip(powers, others, strict=True)])
    np.testing.assert_allclose(index.log_rest(queries, best), wanted, rtol=1e-5)


def test_powers_beyond_float32_are_summed(kind):
    vectors = np.array([[300.0], [299.0], [-400.0]])
    index = whole(kind).build([2, 3, 4], vectors)
    wanted = [300 + np.log1p(np.exp(-1)), 400]
    rest = index.log_rest([[1.0], [-1.0]], [[0], [0]])
    np.testing.assert_allclose(rest, wanted, rtol=1e-6)


def test_an_inverted_file_estimates_the_rest_from_a_sample(faiss):
    from structured_items import structured_items

    from keras_t4r.retrieval import IVFIndex

    vectors, queries = structured_items(20_000, 17, 50)
    ids = np.arange(2, 20_002)
    exact, index = ExactIndex().build(ids, vectors), IVFIndex().build(ids, vectors)
    best = exact.search(queries, 200)[0]
    off = index.log_rest(queries, best) - exact.log_rest(queries, best)
    assert np.abs(off).max() > 0
    assert np.abs(off).mean() < 0.05 and np.abs(np.expm1(off).mean()) < 0.03


def test_an_update_puts_items_in_and_replaces_others(kind, items):
    ids, vectors, queries = items
    index = whole(kind).build(ids[:2000], vectors[:2000])
    old = vectors.copy()
    changed = np.concatenate([ids[1500:], [9000]])
    new = np.concatenate([vectors[1500:] * 1.5, queries[:1] * 3])
    assert index.update(changed, new) is index
    assert len(index) == 3001
    all_ids, all_vectors = np.append(ids, 9000), np.append(vectors, queries[:1] * 3, 0)
    all_vectors[1500:3000] *= 1.5
    found, scores = index.search(queries, 20)
    wanted, of_wanted = sorted_all(all_ids, all_vectors, queries, 20)
    np.testing.assert_allclose(scores, of_wanted, rtol=1e-5, atol=1e-4)
    assert (found == wanted).mean() > 0.999 and found[0, 0] == 9000
    # What it was built from is as it was.
    np.testing.assert_array_equal(vectors, old)


def test_an_item_longer_than_all_before_it_is_found(kind):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(20_000, 24)).astype("float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(2, 20_002)
    index = kind().build(ids, vectors)
    longer = 20 * vectors[7]
    queries = random.normal(size=(200, 24))
    # For these it is the best by far, though they do not point its way.
    cosines = queries @ vectors[7] / np.linalg.norm(queries, axis=1)
    queries = queries[(cosines > 0.06) & (cosines < 0.2)]
    index.update([9], longer[None])
    assert len(index) == 20_000
    assert len(queries) > 20 and (index.search(queries, 5)[0][:, 0] == 9).all()
