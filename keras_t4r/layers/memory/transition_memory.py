import math
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops
from scipy import sparse

from keras_t4r.arguments import number, optional, truth, whole_number
from keras_t4r.layers.memory.session_ids import id_batches, joined
from keras_t4r.layers.memory.transition_counts import count_transitions, heaviest
from keras_t4r.layers.score_mixture import mix
from keras_t4r.layers.score_step import ScoreStep
from keras_t4r.layers.sorted_ids import places_in
from keras_t4r.schema import Vocabulary, check_schema

# Sums of counts below it, which long decay or no sight leaves, count as it.
_LEAST_TOTAL = 1e-9
# What a total is divided by stays a number of float32 up to here.
_MOST_NORMALIZE = 4


def as_strength(name, value):
    """The strength of a memory as a float: what it divides stays a number."""
    return math.inf if value == math.inf else number(name, value, least=1e-6)


@keras.saving.register_keras_serializable(package="keras_t4r")
class TransitionMemory(ScoreStep):
    """Remembers which items followed which, and answers together with the network.

    A network needs many sights of an item to place it, a count needs one: on small
    logs counting is hard to beat, on rare items always. With `c(i, j)` the decayed
    count of the times that `j` followed `i` (see `count_transitions`), `c(i)` its sum
    over `j`, and a session whose last item is `s(1)`, the one before it `s(2)` and so
    on, the evidence for item `j` is

    `m(j) = sum for p = 1..history of c(s(p), j) / c(s(p)) ** normalize / p ** fading
            + own_items * sum over p > 1 with s(p) = j of 1 / p ** fading`

    and with the softmax `q` of the scores that come in, those that go out are

    `log((m(j) + strength * q(j)) / (sum over k of m(k) + strength))`,

    which is Dirichlet smoothing with the network as the prior: the less evidence
    there is, the more the network decides. An id that scores minus infinity keeps
    it. In training scores are handed on as they are: the network trains as without a
    memory, and nothing of the counts reaches a loss, so there is nothing to leak.

    The counts are weights: they are saved, exported and served with the model. They
    hold what `adapt` and `update_state` were given; an empty memory hands the scores
    on. `fit_windows` updates them with every window.

    Args:
        schema: `Schema`. Gives the items. Or give `cardinality` and `first_id`.
        strength: float from 1e-6 on. How much evidence the network's opinion weighs
            as much as; `float("inf")`: the memory says nothing. It is a weight, not
            trained.
            The best was 1 to 5 beside networks that knew little, 10 and 100 beside
            well-fit ones on small and on large logs: the default is a start.
            `tune_memory` finds it, and `fit_windows` does so with every window.
        history: int. How many of the last items have transitions that count.
        fading: float. How fast an item's weight falls with its distance from the end.
        span: int. The most steps between the two items of a transition.
        bidirectional: bool. Whether a transition counts in both directions; helps
            where data is scarce.
        normalize: float from 0 to 4. 0 adds counts, 1 adds probabilities.
        own_items: float. Weight of the session's earlier items, which may come again.
            (That the last one comes again is a transition like others.)
        half_life: float or `None`. Updates after which a count weighs half. `None`
            keeps everything.
        neighbors: int. How many followers are kept of each item, the most frequent.
        cardinality: int. The highest item id + 1, where there is no schema.
        first_id: int. The lowest id that is an item, where there is no schema.
        vocabulary: `Vocabulary` of the items, or its fingerprint. Defaults to the
            schema's. Loaders of sessions that another one encoded are refused; where
            this process holds none of that fingerprint also those of which it cannot
            be told, see `KerasSequenceLoader.check_ids`. Without one, whose ids the
            memory learns cannot be known.

    Call arguments:
        scores: float tensor `(batch, cardinality)`; `(batch, 0)` in training.
        items: int tensor `(batch, time)`. The sessions' items; 0 is padding.
        training: bool.

    Returns:
        A float32 tensor of the shape of `scores`.

    Raises:
        TypeError: an argument is no number, no whole one where it should be, or no
            truth value.
        ValueError: an argument is out of its range, or the scores are not those of
            `cardinality` items.

    Example:

    ```python
    memory = TransitionMemory(schema, half_life=4)
    scores = NextItemHead()(x, targets, table)
    model = SessionModel(inputs, memory(scores, inputs[schema.item_id]))
    model.fit(train, epochs=5)
    memory.adapt(train)
    ```

    References:
    - Khandelwal et al., Generalization through Memorization: Nearest Neighbor
      Language Models, ICLR 2020.
    - Zhai and Lafferty, A Study of Smoothing Methods for Language Models, TOIS 2004.
    - Ludewig and Jannach, Evaluation of Session-based Recommendation Algorithms,
      UMUAI 2018 (how strong counts are).
    """

    reads_rest = True

    def __init__(
        self,
        schema=None,
        strength=10.0,
        history=4,
        fading=1.5,
        span=3,
        bidirectional=True,
        normalize=0.5,
        own_items=4.0,
        half_life=None,
        neighbors=100,
        cardinality=None,
        first_id=None,
        vocabulary=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_schema(schema)
        if schema is not None:
            if cardinality is not None or first_id is not None:
                raise ValueError(
                    "TransitionMemory takes a schema, or cardinality and first_id; "
                    "not both."
                )
            column = schema[schema.item_id]
            cardinality, first_id = column.cardinality, column.first_id
            if vocabulary is None:
                vocabulary = schema.vocabulary(schema.item_id)
        if cardinality is None or first_id is None:
            raise ValueError(
                "TransitionMemory needs the schema of its items, or their cardinality "
                "and first_id."
            )
        cardinality = whole_number("cardinality", cardinality)
        first_id = whole_number("first_id", first_id)
        if not first_id < cardinality:
            raise ValueError(
                f"cardinality, the highest id + 1, must be above first_id, {first_id}; "
                f"it is {cardinality}."
            )
        # Passed arguments.
        self.initial_strength = as_strength("strength", strength)
        self.history = whole_number("history", history)
        self.fading = number("fading", fading, least=0, most=math.inf)
        self.span = whole_number("span", span)
        self.bidirectional = truth("bidirectional", bidirectional)
        self.normalize = number("normalize", normalize, least=0, most=_MOST_NORMALIZE)
        self.own_items = number("own_items", own_items, least=0)
        self.half_life = optional(
            number, "half_life", half_life, above=0, most=math.inf
        )
        self.neighbors = whole_number("neighbors", neighbors)
        self.cardinality = cardinality
        self.first_id = first_id
        # A config holds the fingerprint, and no values.
        told = vocabulary is None or isinstance(vocabulary, str)
        self._vocabulary = None if told else vocabulary
        self._fingerprint = vocabulary if told else vocabulary.fingerprint

        # Weights: here, for a memory may learn before it is called.
        table = (cardinality, self.neighbors)
        self.follower = self._fixed_weight("follower", table, "int32")
        self.count = self._fixed_weight("count", table)
        self.total = self._fixed_weight("total", (cardinality,))
        initial = keras.initializers.Constant(self.initial_strength)
        self.strength = self._fixed_weight("strength", (), initializer=initial)

    def _fixed_weight(self, name, shape, dtype="float32", initializer="zeros"):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            trainable=False,
            autocast=False,
        )

    def build(self, scores_shape, items_shape):
        if scores_shape[-1] not in (None, 0, self.cardinality):
            raise ValueError(
                f"The scores are those of {scores_shape[-1]} ids, but the memory's "
                f"are {self.cardinality}: give both the same schema."
            )

    # Learning

    def adapt(self, data):
        """Forgets everything, then learns sessions.

        Args:
            data: as of `update_state`.

        Returns:
            The memory itself.
        """
        new = self._count(data)
        self.reset_state()
        return self._add(new)

    def update_state(self, data):
        """Learns more sessions, later than those before.

        Args:
            data: `KerasSequenceLoader` without a target, which gives all sessions, the
                newest events of those longer than its `max_length`; or int array
                `(batch, time)` of items, oldest first, 0 where padded.

        Returns:
            The memory itself.

        Raises:
            TypeError: the data are neither.
            ValueError: the loader holds the last item back or gives a part of the
                sessions, an id is beyond the items, or ids were encoded by another
                vocabulary than the memory's (of arrays that cannot be known). The
                memory is as before then.
        """
        return self._add(self._count(data))

    def check_ids(self, loader):
        """Checks that the ids of a loader's sessions mean the memory's items.

        Raises:
            ValueError: see `KerasSequenceLoader.check_ids`.
        """
        if self._vocabulary is None and self._fingerprint is not None:
            self._vocabulary = Vocabulary.living(self._fingerprint)
        told = self._vocabulary or self._fingerprint
        if told is not None:
            loader.check_ids({loader.schema.item_id: told})

    def reset_state(self):
        """Forgets everything that was learned; the strength stays."""
        for weight in (self.follower, self.count, self.total):
            weight.assign(ops.zeros(weight.shape, weight.dtype))

    @contextmanager
    def set_aside(self):
        """Empties the memory within a `with`: what the network answers by itself."""
        counts = (self.follower, self.count, self.total)
        kept = [ops.convert_to_numpy(weight) for weight in counts]
        try:
            for weight in counts:
                weight.assign(ops.zeros(weight.shape, weight.dtype))
            yield self
        finally:
            for weight, value in zip(counts, kept, strict=True):
                weight.assign(value)

    def _add(self, new):
        """Adds counts, `scipy.sparse` `(cardinality, cardinality)`, to the weights."""
        decay = 1.0 if self.half_life is None else 0.5 ** (1.0 / self.half_life)
        old_total = ops.convert_to_numpy(self.total).astype("float64")
        total = decay * old_total + np.asarray(new.sum(axis=1))[:, 0]
        if old_total.any():
            new = decay * self._table() + new
        row, place, column, value = heaviest(new, self.neighbors, total)
        shape = (self.cardinality, self.neighbors)
        follower, count = np.zeros(shape, "int32"), np.zeros(shape, "float32")
        follower[row, place], count[row, place] = column, value
        self.follower.assign(follower)
        self.count.assign(count)
        self.total.assign(total.astype("float32"))
        return self

    def _count(self, data):
        """The transitions of all sessions; `scipy.sparse`."""
        if hasattr(data, "check_ids"):
            self.check_ids(data)
        shape = (self.cardinality, self.cardinality)
        counts = sparse.csr_matrix(shape)
        for items, sessions in joined(self._events(ids) for ids in id_batches(data)):
            counts = counts + count_transitions(
                items, sessions, self.cardinality, self.span, self.bidirectional
            )
        return counts

    def _events(self, ids):
        """The items of one batch `(batch, time)`, and the row of each."""
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise ValueError(
                "TransitionMemory learns from integer ids (batch, time), not from "
                f"{ids.dtype} {ids.shape}."
            )
        if ids.size and not 0 <= ids.min() <= ids.max() < self.cardinality:
            raise ValueError(
                f"The sessions hold ids from {ids.min()} to {ids.max()}, but those of "
                f"the memory's items go from 0 to {self.cardinality - 1}."
            )
        real = ids >= self.first_id
        return ids[real], np.nonzero(real)[0]

    def _table(self):
        """What the weights hold, as a `scipy.sparse` matrix."""
        count = ops.convert_to_numpy(self.count).astype("float64")
        row, place = np.nonzero(count)
        column = ops.convert_to_numpy(self.follower)[row, place]
        shape = (self.cardinality, self.cardinality)
        return sparse.csr_matrix((count[row, place], (row, column)), shape)

    # Answering

    def change(self, scores, items):
        ids, evidence = self.evidence(items)
        total = ops.logsumexp(scores, axis=1, keepdims=True)
        return self._mixed(scores, total, ids, evidence)[0]

    def candidates(self, items):
        return self.evidence(items)[0]

    def change_candidates(self, scores, ids, rest, items):
        followers, evidence = self.evidence(items)
        total = ops.logaddexp(ops.logsumexp(scores, axis=1), rest)[:, None]
        place, there = places_in(ids, followers)
        evidence = ops.where(there, evidence, 0.0)
        scores, shift = self._mixed(scores, total, place, evidence)
        # Of the others there is no evidence.
        return scores, rest + shift[:, 0]

    def _mixed(self, scores, total, columns, evidence):
        """As `mix`, once something was learned."""
        # Both sides of the mixture divided by the strength, which may be infinite.
        evidence = evidence / ops.convert_to_tensor(self.strength)
        mixed, shift = mix(scores, total, columns, evidence)
        learned = self._has_learned()
        return ops.where(learned, mixed, scores), ops.where(learned, shift, 0.0)

    def evidence(self, items):
        """What the counts say by themselves, `m` of the equation.

        Args:
            items: int tensor `(batch, time)`.

        Returns:
            A pair of tensors `(batch, history * neighbors + time)`: item ids, which
            may repeat, and the evidence to add up for them.
        """
        real = items >= self.first_id
        # Steps from the end, 1 for the last item.
        after = ops.cumsum(ops.cast(ops.flip(real, axis=1), "int32"), axis=1)
        step = ops.cast(ops.flip(after, axis=1), "float32")
        weight = ops.where(real, ops.maximum(step, 1.0) ** -self.fading, 0.0)
        source, near = self._newest(items, weight, step)
        total = ops.take(ops.convert_to_tensor(self.total), source, axis=0)
        near = near * ops.maximum(total, _LEAST_TOTAL) ** -self.normalize
        learned = ops.cast(self._has_learned(), "float32")
        follower = ops.take(ops.convert_to_tensor(self.follower), source, axis=0)
        count = ops.take(ops.convert_to_tensor(self.count), source, axis=0)
        flat = (-1, self.history * self.neighbors)
        evidence = ops.reshape(near[:, :, None] * count, flat)
        own = self.own_items * learned * ops.where(step > 1, weight, 0.0)
        items = ops.cast(ops.where(real, items, 0), "int32")
        return (
            ops.concatenate([ops.reshape(follower, flat), items], axis=1),
            ops.concatenate([evidence, own], axis=1),
        )

    def _has_learned(self):
        return ops.any(ops.convert_to_tensor(self.total) > 0)

    def _newest(self, items, weight, step):
        """The last `history` items and their weights, each `(batch, history)`."""
        newest, weights = [], []
        for p in range(1, self.history + 1):
            here = ops.logical_and(ops.equal(step, float(p)), weight > 0)
            newest.append(ops.sum(ops.where(here, items, 0), axis=1))
            weights.append(ops.sum(ops.where(here, weight, 0.0), axis=1))
        return ops.stack(newest, axis=1), ops.stack(weights, axis=1)

    def get_config(self):
        return {
            **super().get_config(),
            "strength": self.initial_strength,
            "history": self.history,
            "fading": self.fading,
            "span": self.span,
            "bidirectional": self.bidirectional,
            "normalize": self.normalize,
            "own_items": self.own_items,
            "half_life": self.half_life,
            "neighbors": self.neighbors,
            "cardinality": self.cardinality,
            "first_id": self.first_id,
            "vocabulary": self._fingerprint,
        }
