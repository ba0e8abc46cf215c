"""Recent popularity."""

import numpy as np

from keras_t4r.training.baselines import _ordering
from keras_t4r.training.baselines.baseline import Baseline


class Popularity(Baseline):
    """Recommends what was clicked most, whoever asks.

    `score(i) = sum over windows w of decay ** (age of w) * clicks(i, w)`.

    With a short `half_life` this is "popular right now", which is hard to beat on news.
    The arguments are those of `Baseline`.

    Example:

    >>> baseline = Popularity(schema, half_life=2)
    >>> baseline.update("sessions/1").update("sessions/2")
    >>> scores = baseline.predict({"item_id": [[5, 9, 0, 0]]})

    References:
        - [Hidasi et al., 2016](https://arxiv.org/abs/1511.06939), baseline POP
    """

    name = "popularity"

    def _default_scores(self):
        order = self._by_popularity[self._seen_last[self._by_popularity] >= 0]
        scores = np.full(self.cardinality, -1.0, np.float32)
        row = np.zeros(len(order), np.int64)
        keys = _ordering.pack(row, self._popularity[order], self._rank[order])
        scores[order] = _ordering.strictly_increasing(keys)
        return scores
