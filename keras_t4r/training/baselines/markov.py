"""First-order transitions."""

import numpy as np
from scipy import sparse

from keras_t4r.training.baselines.baseline import Baseline

_FORGOTTEN = 1e-9  # A transition of this weight changes no order; it only takes memory.


class Markov(Baseline):
    """Recommends what was clicked right after (or before) the session's last items.

    With the decayed count `T(i, j)` of the transitions from `i` to `j`, and a session
    whose last item is `s(1)`, the one before it `s(2)`, and so on:

    `score(j) = sum for p = 1..history of T(s(p), j) / p ** fading
                + own_items * sum over p with s(p) = j of 1 / p ** fading`

    Args:
        history: int. How many of the last items count; 1 is a Markov chain.
        fading: float. How fast their weight falls with the distance from the end.
        bidirectional: bool. Counts each transition in both directions: what leads to
            an item also follows it, which helps where data is scarce.
        span: int. Also counts items up to `span` steps apart as transitions, weighted
            by 1 / distance (1: neighbours only).
        normalize: float. `T(i, j)` is divided by the sum over `j` to this power: 0
            adds counts, 1 probabilities.
        own_items: float. Weight of the session's own items.
        **kwargs: Arguments of `Baseline`.

    Example:

    >>> baseline = Markov(schema, half_life=7).update("sessions/1")
    >>> scores = baseline.predict({"item_id": [[5, 9, 0, 0]]})

    References:
        - [Ludewig & Jannach, 2018](https://arxiv.org/abs/1803.09587), baselines MC, SR
    """

    name = "markov"

    def __init__(
        self,
        schema=None,
        *,
        history=4,
        fading=1.0,
        bidirectional=True,
        span=1,
        normalize=0.5,
        own_items=1.0,
        **kwargs,
    ):
        super().__init__(schema, **kwargs)
        if history < 1 or span < 1:
            raise ValueError(
                f"history and span start at 1; got history={history}, span={span}."
            )
        if min(fading, normalize, own_items) < 0:
            raise ValueError(
                "fading, normalize and own_items must not be negative; got "
                f"{fading}, {normalize} and {own_items}."
            )
        self.history = history
        self.fading = fading
        self.bidirectional = bidirectional
        self.span = span
        self.normalize = normalize
        self.own_items = own_items
        self._transitions = sparse.csr_matrix((self.cardinality, self.cardinality))

    def _learn(self, sessions):
        rows, items = sessions.rows, sessions.items
        sources, targets, weights = [], [], []
        for distance in range(1, self.span + 1):
            same = rows[distance:] == rows[:-distance]
            sources.append(items[:-distance][same])
            targets.append(items[distance:][same])
            weights.append(np.full(int(same.sum()), 1.0 / distance))
        pairs = (np.concatenate(sources), np.concatenate(targets))
        new = sparse.csr_matrix(
            (np.concatenate(weights), pairs), self._transitions.shape
        )
        if self.bidirectional:
            new = new + new.T
        total = (self._transitions * self.decay + new).tocsr()
        total.data[total.data < _FORGOTTEN] = 0.0
        total.eliminate_zeros()
        self._transitions = total
        sums = np.asarray(total.sum(axis=1)).ravel()
        self._scale = np.where(sums > 0, sums, 1.0) ** -self.normalize

    def _evidence(self, sessions):
        shape = (len(sessions.lengths), self.cardinality)
        rows, items, steps = sessions.rows, sessions.items, sessions.steps
        weights = steps ** -float(self.fading)
        near = steps <= self.history
        last = sparse.csr_matrix(
            ((weights * self._scale[items])[near], (rows[near], items[near])), shape
        )
        evidence = last @ self._transitions
        if self.own_items:
            own = sparse.csr_matrix((weights * self.own_items, (rows, items)), shape)
            evidence = evidence + own
        return evidence
