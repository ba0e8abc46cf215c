"""Popularity within the session."""

import numpy as np
from scipy import sparse

from keras_t4r.arguments import number
from keras_t4r.training.baselines.baseline import Baseline


class SessionPopularity(Baseline):
    """Recommends the session's own items again, then the popular ones.

    `score(i) = clicks(i, session) + recency / d(i)`, where `d(i)` is how many steps
    before the session's end `i` was clicked last (1: it is the last item). Items
    outside the session follow by decayed popularity.

    Args:
        recency: float. Weight of recency; up to 0.5 it only orders items that were
            clicked equally often.
        **kwargs: Arguments of `Baseline`.

    Example:

    >>> baseline = SessionPopularity(schema).update("sessions/1")
    >>> scores = baseline.predict({"item_id": [[5, 9, 0, 0]]})

    References:
        - [Hidasi et al., 2016](https://arxiv.org/abs/1511.06939), baseline S-POP
    """

    name = "session_popularity"

    def __init__(self, schema=None, *, recency=0.5, **kwargs):
        super().__init__(schema, **kwargs)
        self.recency = number("recency", recency, least=0)

    def _evidence(self, sessions):
        shape = (len(sessions.lengths), self.cardinality)
        ones = np.ones(len(sessions.items))
        counts = sparse.csr_matrix((ones, (sessions.rows, sessions.items)), shape)
        rows, items, steps = sessions.last_occurrences()
        return counts + sparse.csr_matrix((self.recency / steps, (rows, items)), shape)
