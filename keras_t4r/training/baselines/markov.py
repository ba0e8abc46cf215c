"""First-order transitions."""

import math

import numpy as np
from scipy import sparse

from keras_t4r.arguments import number, truth, whole_number
from keras_t4r.layers.memory.transition_counts import count_transitions, heaviest
from keras_t4r.training.baselines.baseline import Baseline

_FORGOTTEN = 1e-9  # A transition of this weight changes no order; it only takes memory.
_MOST_NORMALIZE = 4  # As of `TransitionMemory`.


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
        normalize: float from 0 to 4. `T(i, j)` is divided by the sum over `j` to this
            power: 0 adds counts, 1 probabilities.
        own_items: float. Weight of the session's own items.
        max_targets: int. How many transitions from one item `predict` looks at: the
            heaviest; of equal ones those to the more popular items. All are learned.
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
        fading=1.5,
        bidirectional=True,
        span=1,
        normalize=0.5,
        own_items=4.0,
        max_targets=1000,
        **kwargs,
    ):
        super().__init__(schema, **kwargs)
        self.history = whole_number("history", history)
        self.fading = number("fading", fading, least=0, most=math.inf)
        self.bidirectional = truth("bidirectional", bidirectional)
        self.span = whole_number("span", span)
        self.normalize = number("normalize", normalize, least=0, most=_MOST_NORMALIZE)
        self.own_items = number("own_items", own_items, least=0)
        self.max_targets = whole_number("max_targets", max_targets)
        self._transitions = sparse.csr_matrix((self.cardinality, self.cardinality))

    def _learn(self, sessions):
        new = count_transitions(
            sessions.items,
            sessions.rows,
            self.cardinality,
            self.span,
            self.bidirectional,
        )
        total = (self._transitions * self.decay + new).tocsr()
        total.data[total.data < _FORGOTTEN] = 0.0
        total.eliminate_zeros()
        self._transitions = total
        self._heaviest = None

    def _index(self):
        """Normalizes the transitions, and keeps the heaviest of each item."""
        table = self._transitions.tocoo()
        sums = np.bincount(table.row, table.data, minlength=self.cardinality)
        table.data = table.data / sums[table.row] ** self.normalize
        row, _, column, weight = heaviest(table, self.max_targets, self._rank)
        self._heaviest = sparse.csr_matrix((weight, (row, column)), table.shape)

    def _evidence(self, sessions):
        if self._heaviest is None:
            self._index()
        shape = (len(sessions.lengths), self.cardinality)
        rows, items, steps = sessions.rows, sessions.items, sessions.steps
        weights = steps**-self.fading
        near = steps <= self.history
        last = sparse.csr_matrix((weights[near], (rows[near], items[near])), shape)
        evidence = last @ self._heaviest
        if self.own_items:
            own = sparse.csr_matrix((weights * self.own_items, (rows, items)), shape)
            evidence = evidence + own
        return evidence
