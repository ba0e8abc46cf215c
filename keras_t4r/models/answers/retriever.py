import numpy as np

from keras_t4r.models.answers.candidate_graph import CandidateGraph
from keras_t4r.models.answers.compiled import Compiled
from keras_t4r.models.checks.divergence import check_scores
from keras_t4r.retrieval.stands_in import stands_in

# How far the scores of an index may be from the model's, of the largest.
ROUNDING = 1e-3
# A sum of nothing, in logarithms: small enough, and a number.
_NOTHING = -1e30


class Retriever:
    """Answers of a model with an index: candidates from it, ranked as the model does.

    The model computes a query, the index answers it with candidates, to which come
    those that steps after the head raise or hide. Their scores are computed from the
    model's own table, and the steps change them as they change those of all items. An
    item that is no candidate scores less than each of the index's; so the answer is
    that of the whole catalogue if `k` of these are left, and more are asked for until
    they are. What a step needs to know of all other items (a memory: what their
    `exp(score)` add up to) the index tells.

    Args:
        ask, rank: functions of dicts of arrays: `CandidateGraph.query` and
            `CandidateGraph.best`, here or out of a SavedModel.
        k: int.
        reads_rest: bool. As of `CandidateGraph`.
    """

    def __init__(self, ask, rank, k, reads_rest):
        self._ask, self._rank = ask, rank
        self._k, self._reads_rest = k, reads_rest

    @classmethod
    def of(cls, model, output, k):
        """That of a model in this process; see `CandidateGraph`."""
        graph = CandidateGraph(model, output, k)
        ask = Compiled(model, graph.query, graph.parts)
        rank = Compiled(model, graph.best, graph.parts)
        return cls(ask.answer, rank.answer, k, graph.reads_rest)

    def answer(self, x, index, count, exclude=None):
        """Scores and ids `(batch, k)` of a batch, as NumPy arrays.

        Args:
            x: dict of column to array.
            index: `ItemIndex`.
            count: int. Candidates that the index is asked for at first.
            exclude: int array `(batch, n)`, 0 for none.
        """
        asked = self._ask(x)
        check_scores(asked["query"])
        must = asked.pop("must")
        rows = np.arange(len(must))
        scores = np.empty((len(rows), self._k), "float32")
        ids = np.empty((len(rows), self._k), "int32")
        while len(rows):
            count = min(count, len(index))
            of_rows = {name: values[rows] for name, values in asked.items()}
            out = None if exclude is None else exclude[rows]
            found = self._candidates(of_rows["query"], must[rows], index, count, out)
            best = self._rank({**of_rows, **found})
            check_scores(best["scores"])
            self._check(best["gap"])
            scores[rows], ids[rows] = best["scores"], best["ids"]
            if count == len(index):
                break
            rows, count = rows[best["left"] < self._k], 4 * count
        return scores, ids

    def _candidates(self, query, must, index, count, exclude):
        """Ids that are ranked, ascending in a row and each once, and what is known."""
        hits, scores = index.search(query, count)
        allowed = hits > 0
        if exclude is not None:
            allowed = np.logical_and(allowed, ~stands_in(hits, exclude))
            if (allowed.sum(axis=1) < self._k).any():
                # What was found stays: it is a part of what all add up to.
                more = index.search(query, count, exclude)
                hits = np.concatenate([hits, more[0]], axis=1)
                scores = np.concatenate([scores, more[1]], axis=1)
        width = hits.shape[1]
        # Places without an item, so that there are k to choose from.
        lack = np.zeros((len(hits), max(0, self._k - width)), hits.dtype)
        ids = np.concatenate([hits, must, lack], axis=1)
        # Of an id that stands twice a hit goes first, and the others are none.
        order = np.argsort(ids, axis=1, kind="stable")
        ordered = np.take_along_axis(ids, order, axis=1)
        twice = np.zeros(ids.shape, bool)
        twice[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
        ordered[twice] = 0
        again = np.argsort(ordered, axis=1, kind="stable")
        ids = np.take_along_axis(ordered, again, axis=1)
        order = np.take_along_axis(order, again, axis=1)
        hit = np.logical_and(order < width, ids > 0)
        scores = np.take_along_axis(scores, np.minimum(order, width - 1), axis=1)
        allowed = ids > 0
        if exclude is not None:
            allowed = np.logical_and(allowed, ~stands_in(ids, exclude))
        rest = np.zeros(len(ids), "float32")
        if self._reads_rest:
            rest = np.maximum(index.log_rest(query, ids), _NOTHING).astype("float32")
        scores = np.where(hit, scores, 0.0).astype("float32")
        return {
            "ids": ids.astype("int32"),
            "hit": hit,
            "score": scores,
            "allowed": allowed,
            "rest": rest,
        }

    def _check(self, gap):
        check_scores(gap)
        if not (gap <= ROUNDING).all():
            raise ValueError(
                "The index answers with other scores than the model: the model was "
                "trained further, or loaded, after the index was built. Call "
                "index.refresh(model)."
            )
