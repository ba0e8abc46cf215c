"""The largest scores of each query, kept while a catalogue goes by in chunks."""

import numpy as np


class Best:
    """The `k` best items so far; of equal scores those of the lower id.

    Args:
        queries, k: ints.
    """

    def __init__(self, queries, k):
        self._k = k
        self.scores = np.full((queries, k), -np.inf, "float32")
        self.ids = np.zeros((queries, k), "int32")

    def add(self, scores, ids):
        """More items, whose ids are above those of all before.

        Args:
            scores: float32 array `(queries, n)`.
            ids: int array `(n,)`, ascending.
        """
        k, n = self._k, scores.shape[1]
        # What only equals the worst that is held comes after it.
        worst = self.scores[:, -1:]
        if n > k and np.isneginf(worst).any():
            own = np.partition(scores, n - k, axis=1)[:, n - k : n - k + 1]
            # Equal ones all go on, to be told apart by their ids.
            worst = np.maximum(worst, np.nextafter(own, np.float32(-np.inf)))
        row, column = np.nonzero(scores > worst)
        if not len(row):
            return
        held = np.repeat(np.arange(len(scores)), k)
        row = np.concatenate([held, row])
        score = np.concatenate([self.scores.ravel(), scores[row[len(held) :], column]])
        found = np.concatenate([self.ids.ravel(), ids[column].astype("int32")])
        # The sort is stable, and ids ascend within a row.
        order = np.lexsort((-score, row))
        start = np.searchsorted(row[order], np.arange(len(scores)))
        take = order[start[:, None] + np.arange(k)]
        self.scores, self.ids = score[take], found[take]
