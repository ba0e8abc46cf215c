from contextlib import contextmanager

import keras
import numpy as np
from keras import ops
from scipy import sparse

from keras_t4r.layers.memory.transition_counts import count_transitions, heaviest


@keras.saving.register_keras_serializable(package="keras_t4r")
class TransitionMemory(keras.layers.Layer):
    """Remembers which items followed which, for a `NextItemHead` to answer with.

    A network needs many sights of an item to place it, a count needs one: on small
    logs counting is hard to beat, on rare items always. A head with a memory answers
    with both. With `c(i, j)` the decayed count of the times that `j` followed `i`
    (see `count_transitions`), `c(i)` its sum over `j`, and a session whose last item
    is `s(1)`, the one before it `s(2)` and so on, the evidence for item `j` is

    `m(j) = sum for p = 1..history of c(s(p), j) / c(s(p)) ** normalize / p ** fading
            + own_items * sum over p > 1 with s(p) = j of 1 / p ** fading`

    and with the softmax `q` of the network's scores, the head answers

    `p(j) = (m(j) + strength * q(j)) / (sum over k of m(k) + strength)`,

    which is Dirichlet smoothing with the network as the prior: the less evidence
    there is, the more the network decides. The network trains as without a memory;
    nothing of the counts reaches its loss, so there is nothing to leak.

    The counts are weights: they are saved, exported and served with the model. They
    hold what `update` was given, and an empty memory adds nothing. `fit_windows`
    updates them with every window.

    Args:
        schema: `Schema`. Gives the items.
        strength: float. How much evidence the network's opinion weighs as much as: a
            weight, not trained; `tune_strength` adapts it, and `fit_windows` does so
            with every window.
        history: int. How many of the last items have transitions that count.
        fading: float. How fast an item's weight falls with its distance from the end.
        span: int. The most steps between the two items of a transition.
        bidirectional: bool. Whether a transition counts in both directions; helps
            where data is scarce.
        normalize: float. 0 adds counts, 1 adds probabilities.
        own_items: float. Weight of the session's earlier items, which may come again.
            (That the last one comes again is a transition like others.)
        half_life: float or `None`. Updates after which a count weighs half. `None`
            keeps everything.
        neighbors: int. How many followers are kept of each item, the most frequent.

    Call arguments:
        item_ids: int tensor `(batch, time)`. The session's items; 0 is padding.

    Returns:
        A pair of tensors `(batch, history * neighbors + time)`: item ids, which may
        repeat, and the evidence `m` to add up for them.

    Example:

    ```python
    memory = TransitionMemory(schema, half_life=4)
    head = NextItemHead(features.item_embedding, memory=memory)
    outputs = head(x, targets, item_ids=inputs[schema.item_id])
    model = SessionModel(inputs, outputs)
    model.fit(train, epochs=5)
    memory.update(train)
    ```

    References:
    - Khandelwal et al., Generalization through Memorization: Nearest Neighbor
      Language Models, ICLR 2020.
    - Zhai and Lafferty, A Study of Smoothing Methods for Language Models, TOIS 2004.
    - Ludewig and Jannach, Evaluation of Session-based Recommendation Algorithms,
      UMUAI 2018 (how strong counts are).
    """

    def __init__(
        self,
        schema=None,
        strength=1.0,
        history=4,
        fading=1.5,
        span=3,
        bidirectional=True,
        normalize=0.5,
        own_items=4.0,
        half_life=None,
        neighbors=100,
        **kwargs,
    ):
        shape = {k: kwargs.pop(k, None) for k in ("cardinality", "first_id")}
        super().__init__(**kwargs)
        if schema is not None:
            column = schema[schema.item_id]
            shape = {"cardinality": column.cardinality, "first_id": column.first_id}
        if None in shape.values():
            raise ValueError("TransitionMemory needs the schema of its items.")
        for name, value in {
            "history": history,
            "span": span,
            "neighbors": neighbors,
        }.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}.")
        for name, value in {"strength": strength, "half_life": half_life}.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, not {value}.")
        for name, value in {
            "fading": fading,
            "normalize": normalize,
            "own_items": own_items,
        }.items():
            if value < 0:
                raise ValueError(f"{name} must not be negative; it is {value}.")
        # Passed arguments.
        self.initial_strength = strength
        self.history = history
        self.fading = fading
        self.span = span
        self.bidirectional = bidirectional
        self.normalize = normalize
        self.own_items = own_items
        self.half_life = half_life
        self.neighbors = neighbors

        # Other arguments.
        self.cardinality = shape["cardinality"]
        self.first_id = shape["first_id"]
        self.build()

    def build(self, item_ids_shape=None):
        if self.built:
            return
        table = (self.cardinality, self.neighbors)
        self.follower = self._fixed_weight("follower", table, "int32")
        self.count = self._fixed_weight("count", table)
        self.total = self._fixed_weight("total", (self.cardinality,))
        initial = keras.initializers.Constant(self.initial_strength)
        self.strength = self._fixed_weight("strength", (), initializer=initial)
        self.built = True

    def _fixed_weight(self, name, shape, dtype="float32", initializer="zeros"):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            trainable=False,
            autocast=False,
        )

    # Learning

    def update(self, sessions):
        """Learns more sessions, later than those before.

        Args:
            sessions: `KerasSequenceLoader` without a target, or int array
                `(batch, time)` of items, oldest first, 0 where padded.

        Returns:
            The memory itself.

        Raises:
            ValueError: the loader holds the last item back, or an id is beyond the
                items.
        """
        new = sum(self._count(ids) for ids in self._batches(sessions))
        decay = 1.0 if self.half_life is None else 0.5 ** (1.0 / self.half_life)
        old_total = ops.convert_to_numpy(self.total).astype("float64")
        total = decay * old_total + np.asarray(new.sum(axis=1))[:, 0]
        row, place, column, value = heaviest(
            decay * self._table() + new, self.neighbors, total
        )
        shape = (self.cardinality, self.neighbors)
        follower, count = np.zeros(shape, "int32"), np.zeros(shape, "float32")
        follower[row, place], count[row, place] = column, value
        self.follower.assign(follower)
        self.count.assign(count)
        self.total.assign(total.astype("float32"))
        return self

    @contextmanager
    def set_aside(self):
        """Empties the memory within a `with`: what the network answers by itself."""
        counts = (self.follower, self.count, self.total)
        kept = [ops.convert_to_numpy(weight) for weight in counts]
        try:
            for weight in counts:
                weight.assign(ops.zeros_like(weight))
            yield self
        finally:
            for weight, value in zip(counts, kept, strict=True):
                weight.assign(value)

    def _batches(self, sessions):
        if not hasattr(sessions, "schema"):
            yield np.asarray(sessions)
            return
        if sessions.target is not None:
            raise ValueError(
                "TransitionMemory learns from whole sessions, but the loader holds "
                f"back their last item: make it without target={sessions.target!r}."
            )
        for i in range(len(sessions)):
            (x,) = sessions[i]
            yield x[sessions.schema.item_id]

    def _count(self, ids):
        """Transitions of one batch; `scipy.sparse` `(cardinality, cardinality)`."""
        if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
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
        return count_transitions(
            ids[real],
            np.nonzero(real)[0],
            self.cardinality,
            self.span,
            self.bidirectional,
        )

    def _table(self):
        """What the weights hold, as a `scipy.sparse` matrix."""
        count = ops.convert_to_numpy(self.count).astype("float64")
        row, place = np.nonzero(count)
        column = ops.convert_to_numpy(self.follower)[row, place]
        shape = (self.cardinality, self.cardinality)
        return sparse.csr_matrix((count[row, place], (row, column)), shape)

    # Answering

    def call(self, item_ids):
        real = item_ids >= self.first_id
        # Steps from the end, 1 for the last item.
        after = ops.cumsum(ops.cast(ops.flip(real, axis=1), "int32"), axis=1)
        step = ops.cast(ops.flip(after, axis=1), "float32")
        weight = ops.where(real, ops.maximum(step, 1.0) ** -self.fading, 0.0)
        source, near = self._newest(item_ids, weight, step)
        total = ops.take(ops.convert_to_tensor(self.total), source, axis=0)
        near = near * ops.maximum(total, 1e-9) ** -self.normalize
        learned = ops.cast(ops.any(ops.convert_to_tensor(self.total) > 0), "float32")
        follower = ops.take(ops.convert_to_tensor(self.follower), source, axis=0)
        count = ops.take(ops.convert_to_tensor(self.count), source, axis=0)
        flat = (-1, self.history * self.neighbors)
        evidence = ops.reshape(near[:, :, None] * count, flat)
        own = self.own_items * learned * ops.where(step > 1, weight, 0.0)
        items = ops.cast(ops.where(real, item_ids, 0), "int32")
        return (
            ops.concatenate([ops.reshape(follower, flat), items], axis=1),
            ops.concatenate([evidence, own], axis=1),
        )

    def _newest(self, item_ids, weight, step):
        """The last `history` items and their weights, each `(batch, history)`."""
        items, weights = [], []
        for p in range(1, self.history + 1):
            here = ops.logical_and(ops.equal(step, float(p)), weight > 0)
            items.append(ops.sum(ops.where(here, item_ids, 0), axis=1))
            weights.append(ops.sum(ops.where(here, weight, 0.0), axis=1))
        return ops.stack(items, axis=1), ops.stack(weights, axis=1)

    def compute_output_spec(self, item_ids):
        batch, time = item_ids.shape
        width = None if time is None else self.history * self.neighbors + time
        return (
            keras.KerasTensor((batch, width), dtype="int32"),
            keras.KerasTensor((batch, width), dtype="float32"),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "cardinality": self.cardinality,
            "first_id": self.first_id,
            "strength": self.initial_strength,
            "history": self.history,
            "fading": self.fading,
            "span": self.span,
            "bidirectional": self.bidirectional,
            "normalize": self.normalize,
            "own_items": self.own_items,
            "half_life": self.half_life,
            "neighbors": self.neighbors,
        }
