"""What V-SkNN and STAN share: stored sessions, candidates, neighbours, votes."""

import numpy as np
from scipy import sparse

from keras_t4r.arguments import whole_number
from keras_t4r.training.baselines import _ordering
from keras_t4r.training.baselines.baseline import Baseline


class SessionKNN(Baseline):
    """Lets the sessions most like the running one vote for their items.

    1. Candidates: the `sample_size` most recent stored sessions that share an item with
       the running session.
    2. Neighbours: the `k` candidates with the highest similarity; of equal ones the
       more recent.
    3. `score(i) = sum over neighbours n that hold i of similarity(n) * vote(i, n)`.

    A subclass says how items weigh in the similarity and what a vote is. With a
    `half_life`, a stored session's similarity halves with its age in windows.

    Args:
        k: int. Number of neighbours.
        sample_size: int. Number of candidates.
        max_sessions: int. How many sessions are stored; the most recent stay.
        **kwargs: Arguments of `Baseline`.
    """

    def __init__(
        self,
        schema=None,
        *,
        k,
        sample_size,
        max_sessions=1_000_000,
        **kwargs,
    ):
        super().__init__(schema, **kwargs)
        self.k = whole_number("k", k)
        self.sample_size = whole_number("sample_size", sample_size)
        self.max_sessions = whole_number(
            "max_sessions", max_sessions, most=_ordering.MAX_IDS
        )
        self._has_days = None
        # One row a stored session, the oldest first; one event a distinct item of it.
        self._days = np.empty(0)
        self._window = np.empty(0, np.int64)
        self._sizes = np.empty(0, np.int64)
        self._items = np.empty(0, np.int64)
        self._steps = np.empty(0, np.int64)
        self._postings = None

    def _learn(self, sessions):
        has_days = sessions.days is not None
        if self._has_days not in (None, has_days):
            raise ValueError(
                f"Only some windows have the column '{self.time_column}': give it in "
                "all or none."
            )
        self._has_days = has_days
        count = len(sessions.lengths)
        days = sessions.days if has_days else np.full(count, float(self.windows))
        rows, items, steps = sessions.last_occurrences()
        sizes = np.bincount(rows, minlength=count)
        self._days = np.concatenate([self._days, days])
        self._window = np.concatenate([self._window, np.full(count, self.windows)])
        self._sizes = np.concatenate([self._sizes, sizes])
        self._items = np.concatenate([self._items, items])
        self._steps = np.concatenate([self._steps, steps])
        self._keep_most_recent()
        self._postings = None

    def _keep_most_recent(self):
        order = np.argsort(self._days, kind="stable")
        order = order[self._sizes[order] > 0][-self.max_sessions :]
        events, _ = _expand(_starts(self._sizes)[order], self._sizes[order])
        self._items, self._steps = self._items[events], self._steps[events]
        self._days, self._window = self._days[order], self._window[order]
        self._sizes = self._sizes[order]

    def _index(self):
        """Builds the posting lists: for each item, the sessions that hold it.

        Each list keeps its `sample_size` most recent sessions. That loses nothing: a
        session among the most recent ones of several lists together is among the most
        recent ones of each list that holds it.
        """
        count = len(self._sizes)
        sessions = np.repeat(np.arange(count), self._sizes)
        order = np.argsort(self._items, kind="stable")
        self._frequency = np.bincount(self._items, minlength=self.cardinality)
        left = _ends(self._frequency)[self._items[order]] - np.arange(len(order))
        order = order[left <= self.sample_size]
        self._postings = sparse.csr_matrix(
            (np.ones(len(order)), (self._items[order], sessions[order])),
            (self.cardinality, count),
        )
        self._first_event = _starts(self._sizes)
        age = self.windows - 1 - self._window
        self._session_weight = self.decay**age * self._weigh_sessions()

    def _evidence(self, sessions):
        if self._postings is None:
            self._index()
        rows, items, steps = sessions.last_occurrences()
        weights = self._weigh_items(steps, sessions.lengths[rows])
        row, session, similarity = self._neighbours(
            sparse.csr_matrix(
                (weights, (rows, items)), (len(sessions.lengths), self.cardinality)
            )
        )
        # Every event of every neighbour, and where it stands in the running session.
        sizes = self._sizes[session]
        events, pair = _expand(self._first_event[session], sizes)
        voted = self._items[events]
        known = rows * self.cardinality + items
        wanted = row[pair] * self.cardinality + voted
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        shared = known[place] == wanted if len(known) else np.zeros(0, bool)
        far = np.iinfo(np.int64).max
        step = np.where(shared, steps[place], far)
        last = np.minimum.reduceat(step, _starts(sizes)) if len(sizes) else sizes
        # Of the shared items, the one that the running session saw last.
        anchor = np.zeros(len(sizes), np.int64)
        is_anchor = shared & (step == last[pair])
        anchor[pair[is_anchor]] = self._steps[events[is_anchor]]
        votes = similarity[pair] * self._vote(
            voted, last[pair], np.abs(self._steps[events] - anchor[pair])
        )
        return sparse.csr_matrix(
            (votes, (row[pair], voted)), (len(sessions.lengths), self.cardinality)
        )

    def _neighbours(self, queries):
        """The neighbours of each query as `(row, session, similarity)`."""
        found = (queries @ self._postings).tocsr()
        found.sort_indices()
        left = np.repeat(found.indptr[1:], np.diff(found.indptr))
        sampled = left - np.arange(found.nnz) <= self.sample_size
        row = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))[sampled]
        session = found.indices[sampled]
        similarity = found.data[sampled] * self._session_weight[session]
        positive = similarity > 0
        row, session = row[positive], session[positive]
        keys = np.sort(_ordering.pack(row, similarity[positive], session))
        keys = keys[_ordering.largest_in_each_row(keys, row, self.k)]
        row, similarity, session = _ordering.unpack(keys)
        return row, session, similarity.astype(np.float64)

    def _weigh_items(self, steps, lengths):
        """Weights of the running session's items in the similarity."""
        raise NotImplementedError

    def _weigh_sessions(self):
        """Factors of the stored sessions in the similarity."""
        return np.ones(len(self._sizes))

    def _vote(self, items, last, distance):
        """Votes of neighbours for their items.

        Args:
            items: The items voted for.
            last: Steps from the running session's end to the latest shared item (1: the
                last item).
            distance: Steps between the item and that one, in the neighbour.
        """
        raise NotImplementedError


def _ends(sizes):
    return np.cumsum(sizes)


def _starts(sizes):
    return np.cumsum(sizes) - sizes


def _expand(starts, sizes):
    """Lines up the ranges of `sizes[i]` numbers from `starts[i]`, and whose each is."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return np.arange(len(owner)) + (starts - _starts(sizes))[owner], owner
