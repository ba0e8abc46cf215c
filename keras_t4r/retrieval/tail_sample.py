import numpy as np

# Items that the rest is estimated from.
_ITEMS = 4096
_SEED = 0


class TailSample:
    """An estimate of what the items add up to that were not looked at.

    With the best items known exactly, the others are many and small: a uniform sample
    `S` of all gives

    `sum over i not in C of exp(q · v_i) ~ (n - |C|) / |S \\ C| * sum over S \\ C`,

    which has the right expectation, whatever `C` is. Of 4096 items or fewer all are in
    the sample, and it is exact.

    Args:
        ids: int64 array `(s,)`, ascending.
        vectors: float32 array `(s, dim)`.
        items: int. How many items there are.

    References:
    - Mussmann and Ermon, Learning and Inference via Maximum Inner Product Search, ICML
      2016.
    """

    def __init__(self, ids, vectors, items):
        self._ids, self._vectors, self._items = ids, vectors, items

    @classmethod
    def of(cls, items, lists):
        """A sample of items, the same for the same items in the same order.

        Args:
            items: int. How many there are.
            lists: iterable of `(number, ids, vectors)`.
        """
        random, most = np.random.default_rng(_SEED), min(_ITEMS, items)
        places = np.sort(random.choice(items, most, replace=False))
        ids, vectors, start = [], [], 0
        for _, of_list, held in lists:
            # Vectors lie on a sphere by a last number that is not theirs.
            first, last = np.searchsorted(places, [start, start + len(of_list)])
            chosen = places[first:last] - start
            ids.append(of_list[chosen])
            vectors.append(held[chosen, :-1])
            start += len(of_list)
        ids, vectors = np.concatenate(ids), np.concatenate(vectors)
        order = np.argsort(ids)
        return cls(ids[order], vectors[order], items)

    def log_rest(self, queries, ids):
        """See `ItemIndex.log_rest`; the ids are among the index's."""
        scores = queries @ self._vectors.T
        place = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        there = self._ids[place] == ids
        scores[np.nonzero(there)[0], place[there]] = -np.inf
        top = scores.max(axis=1, keepdims=True)
        top = np.where(np.isneginf(top), 0.0, top)
        total = np.exp(scores - top).sum(axis=1, dtype="float64")
        others = self._items - (ids > 0).sum(axis=1)
        of_sample = len(self._ids) - there.sum(axis=1)
        with np.errstate(divide="ignore"):
            rest = top[:, 0] + np.log(total * others / np.maximum(of_sample, 1))
        return np.where(others > 0, rest, -np.inf)
