"""What all baselines share: learning by window, time decay, ties, and shapes."""

import math

import numpy as np
from scipy import sparse

from keras_t4r.arguments import number, optional, truth, whole_number
from keras_t4r.schema import check_schema
from keras_t4r.training.baselines import _ordering
from keras_t4r.training.baselines._sessions import batch_sessions, read_sessions


class Baseline:
    """Scores next items by counting, with the same call as a model's `predict`.

    A baseline learns window by window, and forgets half in every `half_life` windows:
    `update` multiplies what earlier windows left by `0.5 ** (1 / half_life)` before it
    adds the new one.

    `predict` gives every item one score, in three ranges that never meet:

    * evidence from the session: the baseline's own equation, above 0;
    * no evidence, but seen before: between -1 and 0, in the order of popularity;
    * never seen: -1. What cannot be recommended (padding, unknown): `-inf`.

    Ties within the first two are broken by decayed popularity, then by which item was
    seen last. A tied score is lifted by float32's smallest step, and only as far as
    needed, so that unequal scores keep their order: metrics that count ties against a
    model then judge a count as fairly as a network. Nothing hangs on the order of ids.

    Args:
        schema: `Schema` or None. Names the item column and gives its domain and its
            vocabulary, where it has one: sessions that another encoded are refused.
            Without a schema, `item_column` and `cardinality` are needed, and whose ids
            a window holds cannot be known.
        item_column: string. Column with the encoded items of a session.
        cardinality: int. The highest item id + 1.
        first_id: int. The lowest id that is an item; below are padding and unknown.
            Defaults to the domain's `min`, or 2 without a schema.
        half_life: float or None. Windows after which a count weighs half. None keeps
            everything.
        repeat_last: bool or None. Whether the session's last item may come next. None
            allows it if more than one in 1,000 clicks learned so far repeats the one
            before: where the log had repeats dropped, it would waste the first rank.
        exclude_seen: bool. Leaves all items of the session out, as `recommend` of a
            model does. It helps where few return to an item, as on news.
        time_column: string. Column with the start of each session, in seconds or as a
            timestamp, used where a baseline needs it and the window has it. `None`
            leaves it out.

    Raises:
        TypeError: an argument is of a type that it cannot have.
        ValueError: an argument is out of its range, or nothing says which the items
            are and how many.
    """

    name = "baseline"

    def __init__(
        self,
        schema=None,
        *,
        item_column=None,
        cardinality=None,
        first_id=None,
        half_life=None,
        repeat_last=None,
        exclude_seen=False,
        time_column="start",
    ):
        check_schema(schema)
        for name, text in (("item_column", item_column), ("time_column", time_column)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{name} is {text!r}; it should be text.")
            if text == "":
                raise ValueError(f"{name} is empty text; it should be a column.")
        self._vocabulary = None
        if schema is not None:
            item_column = item_column or schema.item_id
            domain = schema[item_column].domain
            if domain is None:
                raise ValueError(
                    f"Column '{item_column}' has no domain in the schema: the baseline "
                    "cannot know how many items there are."
                )
            self._vocabulary = schema.vocabulary(item_column)
            cardinality = int(domain.max) + 1 if cardinality is None else cardinality
            first_id = max(int(domain.min), 1) if first_id is None else first_id
        if item_column is None or cardinality is None:
            raise ValueError("Give a schema, or both item_column and cardinality.")
        self.cardinality = whole_number(
            "cardinality", cardinality, least=2, most=_ordering.MAX_IDS
        )
        self.first_id = whole_number(
            "first_id",
            2 if first_id is None else first_id,
            most=self.cardinality - 1,
        )
        self.half_life = optional(
            number, "half_life", half_life, above=0, most=math.inf
        )
        self.item_column = item_column
        self.repeat_last = optional(truth, "repeat_last", repeat_last)
        self.exclude_seen = truth("exclude_seen", exclude_seen)
        self.time_column = time_column
        self.windows = 0
        self._repeats = 0
        self._popularity = np.zeros(self.cardinality)
        self._seen_last = np.full(self.cardinality, -1, np.int64)
        self._events = 0

    @property
    def decay(self) -> float:
        """The factor by which one update shrinks what was learned before."""
        return 1.0 if self.half_life is None else 0.5 ** (1.0 / self.half_life)

    def update(self, window):
        """Learns from one more window of sessions, later than those before it.

        What is given twice counts twice.

        Args:
            window: `pyarrow.Table` with a list column of encoded item ids, or the path
                of a parquet file, a folder of them, a glob, or a list of paths.

        Returns:
            The baseline itself.

        Raises:
            ValueError: If the column is missing, holds nulls or ids outside the
                domain, or was encoded by another vocabulary than the schema's; then
                nothing is learned.
            TypeError: If the column is not a list of integers.
            FileNotFoundError: If there is no such file.
        """
        sessions = read_sessions(
            window,
            self.item_column,
            self.first_id,
            self.cardinality,
            self.time_column,
            self._vocabulary,
        )
        self._learn(sessions)
        self.windows += 1
        self._repeats += sessions.repeats
        events = len(sessions.items)
        self._popularity *= self.decay
        self._popularity += np.bincount(sessions.items, minlength=self.cardinality)
        self._seen_last[sessions.items] = self._events + np.arange(events)
        self._events += events
        self._by_popularity = np.lexsort((self._seen_last, self._popularity))
        self._rank = np.empty(self.cardinality, np.int64)
        self._rank[self._by_popularity] = np.arange(self.cardinality)
        self._default = self._default_scores()
        self._default[: self.first_id] = -np.inf
        return self

    def check_ids(self, loader) -> None:
        """Checks that a `KerasSequenceLoader` gives ids of the schema's vocabulary.

        Raises:
            ValueError: See `KerasSequenceLoader.check_ids`.
        """
        if self._vocabulary is not None:
            loader.check_ids({self.item_column: self._vocabulary})

    def predict(self, x) -> np.ndarray:
        """Scores all items as the next one of each session.

        Args:
            x: dict `{item column: ids}`, or the ids: int array of shape
                `(batch, time)`, oldest first, 0 where padded. Special ids are passed
                over.

        Returns:
            float32 array of shape `(batch, cardinality)`; `-inf` at ids below
            `first_id`, and at items that `repeat_last` or `exclude_seen` leaves out.

        Raises:
            ValueError: If an id is outside the domain, the shape is not
                `(batch, time)`, or nothing was learned yet.
            TypeError: If the ids are not integers.
        """
        if not self.windows:
            raise ValueError(f"{self.name} has learned nothing yet: call update first.")
        if isinstance(x, dict):
            if self.item_column not in x:
                raise ValueError(
                    f"The batch has no column '{self.item_column}'; it has {list(x)}."
                )
            x = x[self.item_column]
        sessions, last = batch_sessions(
            x, self.item_column, self.first_id, self.cardinality
        )
        scores = np.empty((len(sessions.lengths), self.cardinality), np.float32)
        scores[:] = self._default
        ends = np.concatenate([[0], np.cumsum(sessions.lengths)])
        for begin in range(0, len(scores), _ordering.MAX_ROWS):
            end = min(begin + _ordering.MAX_ROWS, len(scores))
            part = sessions._replace(
                items=sessions.items[ends[begin] : ends[end]],
                lengths=sessions.lengths[begin:end],
            )
            self._write(self._evidence(part), scores[begin:end])
        allowed = self.repeat_last
        if allowed is None:
            allowed = self._repeats > 0.001 * self._events
        if not allowed:
            scores[np.arange(len(last)), last] = -np.inf
        if self.exclude_seen:
            scores[sessions.rows, sessions.items] = -np.inf
        return scores

    def _learn(self, sessions) -> None:
        """Adds a window's sessions to what the baseline knows beside popularity."""

    def _evidence(self, sessions) -> sparse.csr_matrix:
        """Scores above 0 of the items that each session speaks for."""
        return sparse.csr_matrix((len(sessions.lengths), self.cardinality))

    def _default_scores(self) -> np.ndarray:
        """Scores of the items that a session says nothing about."""
        seen = self._seen_last >= 0
        below = self.cardinality - self._rank
        return np.where(seen, -below / (seen.sum() + 1.0), -1.0).astype(np.float32)

    def _write(self, evidence, scores) -> None:
        """Writes the evidence, its ties broken, over the default scores."""
        evidence = evidence.tocoo()
        keys = _ordering.pack(evidence.row, evidence.data, self._rank[evidence.col])
        keys = np.sort(keys[evidence.data > 0])
        rows, _, ranks = _ordering.unpack(keys)
        scores[rows, self._by_popularity[ranks]] = _ordering.strictly_increasing(keys)
