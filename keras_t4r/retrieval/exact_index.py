import numpy as np

from keras_t4r.arguments import whole_number
from keras_t4r.retrieval.best_of_chunk import Best
from keras_t4r.retrieval.item_index import ItemIndex

# Queries scored at a time.
_QUERIES = 256


class ExactIndex(ItemIndex):
    """The items of the largest inner product, by looking at all of them.

    It holds all vectors. The catalogue goes by in chunks: beside it a search holds the
    scores of 256 queries and `chunk` items, 64 MiB by default whatever the numbers of
    both, and copies of them to sort. Of items of equal score the one of the lower id
    goes first. The time grows with the catalogue; needs no library.

    Args:
        chunk: int. Items scored at a time.
        vocabulary: see `ItemIndex`.

    Example:

    ```python
    index = ExactIndex().build([1, 2, 3], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    ids, scores = index.search([[2.0, 1.0]], k=2)     # [[3, 1]], [[3.0, 2.0]]
    ```
    """

    def __init__(self, chunk=1 << 16, vocabulary=None):
        super().__init__(vocabulary)
        self.chunk = whole_number("chunk", chunk)
        self._ids = np.zeros(0, "int64")
        self._vectors = None

    def __len__(self):
        return len(self._ids)

    def _build(self, ids, vectors):
        if (ids[1:] < ids[:-1]).any():
            order = np.argsort(ids)
            ids, vectors = ids[order], vectors[order]
        self._ids, self._vectors = ids, vectors

    def _update(self, ids, vectors):
        place = np.searchsorted(self._ids, ids)
        there = place < len(self._ids)
        there[there] = self._ids[place[there]] == ids[there]
        # What was given to `build` stays as it is.
        held = self._vectors.copy()
        held[place[there]] = vectors[there]
        self._build(
            np.concatenate([self._ids, ids[~there]]),
            np.concatenate([held, vectors[~there]]),
        )

    def _search(self, queries, k, exclude):
        ids = np.empty((len(queries), k), "int32")
        scores = np.empty((len(queries), k), "float32")
        for at in range(0, len(queries), _QUERIES):
            part = slice(at, at + _QUERIES)
            out = exclude if exclude.ndim == 1 else exclude[part]
            best = Best(len(queries[part]), k)
            for chunk, found in self._chunks(queries[part], out):
                best.add(found, self._ids[chunk])
            ids[part], scores[part] = best.ids, best.scores
        return ids, scores

    def _chunks(self, queries, exclude):
        """The scores of each chunk: `(slice, (queries, items))`."""
        for at in range(0, len(self), self.chunk):
            chunk = slice(at, at + self.chunk)
            scores = queries @ self._vectors[chunk].T
            ids = self._ids[chunk]
            # Which of the chunk each excluded id is, if any.
            place = np.minimum(np.searchsorted(ids, exclude), len(ids) - 1)
            there = ids[place] == exclude
            if exclude.ndim == 1:
                scores[:, place[there]] = -np.inf
            else:
                scores[np.nonzero(there)[0], place[there]] = -np.inf
            yield chunk, scores

    def _log_rest(self, queries, ids):
        rest = np.empty(len(queries))
        for at in range(0, len(queries), _QUERIES):
            part = slice(at, at + _QUERIES)
            rest[part] = self._log_rest_of_part(queries[part], ids[part])
        return rest

    def _log_rest_of_part(self, queries, ids):
        # Shifted by the largest so far, so that no power is beyond float32.
        top = np.full((len(queries), 1), -np.inf)
        total = np.zeros(len(queries))
        for _, scores in self._chunks(queries, ids):
            most = np.maximum(top, scores.max(axis=1, keepdims=True))
            shift = np.where(np.isneginf(most), 0.0, most)
            powers = np.exp(scores - shift.astype("float32"))
            total = total * np.exp(top - shift)[:, 0] + powers.sum(1, dtype="float64")
            top = most
        with np.errstate(divide="ignore"):
            return np.where(total > 0, top[:, 0] + np.log(total), -np.inf)

    def _contents(self):
        return self._ids, self._vectors

    def get_config(self):
        return {**super().get_config(), "chunk": self.chunk}
