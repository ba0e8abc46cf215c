"""The best possible recommender of a synthetic click log."""

import numpy as np

from keras_t4r.arrays import as_array

_FIRST_ID = 2


class Oracle:
    """True probabilities of the next item, given encoded histories.

    Items of the catalogue that the vocabulary lacks share id 1, where their
    probabilities add up. A history that holds id 1 tells nothing there: the
    part of the mixture that hangs on it falls away.

    Made by `SyntheticClicks.oracle`.
    """

    def __init__(
        self,
        vocabulary,
        raw_ids,
        successors,
        successor_probabilities,
        popularity,
        weights,
    ):
        self.num_ids = len(vocabulary) + _FIRST_ID
        order = np.argsort(raw_ids)
        places = np.searchsorted(raw_ids[order], vocabulary)
        items = order[np.minimum(places, len(raw_ids) - 1)]
        if not np.array_equal(raw_ids[items], vocabulary):
            raise ValueError("The vocabulary has items that this log cannot have.")
        # From an encoded id to the log's own number of an item and back.
        self._items = np.concatenate([[-1, -1], items])
        self._ids = np.ones(len(raw_ids), np.int64)
        self._ids[items] = np.arange(len(items)) + _FIRST_ID

        self._successors = [self._ids[table] for table in successors]
        self._successor_probabilities = successor_probabilities
        self._popularity = np.bincount(self._ids, popularity, self.num_ids)
        self._weights = weights

    def predict(self, x):
        """Probabilities of the next item.

        Args:
            x: dict with `"item_id"`, an int array `(batch, time)` of encoded
                ids, padded on the right with 0; or that array.

        Returns:
            float32 array `(batch, ids)`; each row sums to 1. Id 0 has none.
        """
        ids = as_array("item_id", x["item_id"] if isinstance(x, dict) else x)
        batch, rows = len(ids), np.arange(len(ids))
        lengths = (ids > 0).sum(axis=1)
        last = self._at(ids, lengths - 1)
        parts = [
            self._follow(0, last),
            self._follow(1, self._at(ids, lengths - 2)),
            self._return(ids, lengths),
            np.broadcast_to(self._popularity, (batch, self.num_ids)),
        ]
        out = sum(w * p for w, p in zip(self._weights, parts, strict=True))
        known = last >= _FIRST_ID
        out[rows[known], last[known]] = 0
        return (out / out.sum(axis=1, keepdims=True)).astype(np.float32)

    def _at(self, ids, places):
        values = np.take_along_axis(ids, np.maximum(places, 0)[:, None], axis=1)
        return np.where(places >= 0, values[:, 0], 0)

    def _follow(self, table, ids):
        """S1 or S2 of each id; nothing for padding and unknown ids."""
        out = np.zeros((len(ids), self.num_ids))
        rows = np.flatnonzero(ids >= _FIRST_ID)
        following = self._successors[table][self._items[ids[rows]]]
        np.add.at(out, (rows[:, None], following), self._successor_probabilities)
        return out

    def _return(self, ids, lengths):
        """R: uniform over the clicks before the last."""
        out = np.zeros((len(ids), self.num_ids))
        earlier = np.arange(ids.shape[1]) < lengths[:, None] - 1
        rows, places = np.nonzero(earlier & (ids >= _FIRST_ID))
        share = 1 / np.maximum(lengths - 1, 1)
        np.add.at(out, (rows, ids[rows, places]), share[rows])
        return out
