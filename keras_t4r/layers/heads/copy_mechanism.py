from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from keras_t4r.arrays import as_array
from keras_t4r.layers.score_mixture import mix
from keras_t4r.layers.score_step import ScoreStep
from keras_t4r.layers.sorted_ids import places_in

#: What the coefficients are of, in their order.
TERMS = ("constant", "distance", "last", "times", "length", "variety")
# Where a fit begins that has nothing to go by: an item two steps back comes again once
# in twenty times, one further back less often, the last one hardly ever.
START = (-2.5, -0.75, -2.0, 0.0, 0.0, 0.0)
#: The logarithm of the evidence ends here: evidence stays a number of float32.
MOST_EVIDENCE = 30.0


@keras.saving.register_keras_serializable(package="keras_t4r")
class CopyMechanism(ScoreStep):
    """Lets the answer be one of the session's own items: "that one again".

    Networks are poor at this: what comes again is told by its place in the session,
    whatever item it is. With the softmax `q` of the scores that come in, and an item
    `j` of the session that was seen `times(j)` times, `distance(j)` events before the
    end the newest time (the last event: 1), of a session of `length` events of `n`
    different items, the evidence is

    `e(j) = exp(a[0] + a[1] log distance(j) + a[2] [distance(j) = 1]
                + a[3] log times(j) + a[4] log length + a[5] log(n / length))`,

    0 for all other items, and the scores that go out are

    `log((q(j) + e(j)) / (1 + sum over k of e(k)))`:

    a mixture of the network and of a pointer to the session, the pointer's share
    `sum of e / (1 + sum of e)`. An item that scores minus infinity keeps it and has no
    evidence. In training scores are handed on as they are.

    The six coefficients `a` are weights that `fit` does not train: by heart the network
    knows what comes again in the sessions that it trains on, and would leave the
    pointer nothing to say. `tune_copy` fits them to sessions that the network has not
    learned, and `fit_windows` does so with every window. Until then the scores are
    handed on.

    Call arguments:
        scores: float tensor `(batch, cardinality)`; `(batch, 0)` in training.
        items: int tensor `(batch, time)`. The sessions' items, oldest first; 0 is
            padding.
        training: bool.

    Returns:
        A float32 tensor of the shape of `scores`.

    Example:

    ```python
    copy = CopyMechanism()
    scores = NextItemHead()(x, targets, table)
    model = SessionModel(inputs, copy(scores, inputs[schema.item_id]))
    model.fit(days_1_to_6, epochs=5)
    tune_copy(model, KerasSequenceLoader("sessions/7", schema, 512, target="last"))
    ```

    References:
    - Ren et al., RepeatNet: A Repeat Aware Neural Recommendation Machine for
      Session-based Recommendation, AAAI 2019.
    - See et al., Get To The Point: Summarization with Pointer-Generator Networks,
      ACL 2017 (the mixture).
    """

    reads_rest = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        fixed = {"trainable": False, "autocast": False}
        # Weights: here, for they may be fit before the layer is called.
        self.coefficients = self.add_weight(
            name="coefficients", shape=(len(TERMS),), initializer="zeros", **fixed
        )
        self.fitted = self.add_weight(
            name="fitted", shape=(), dtype="bool", initializer="zeros", **fixed
        )

    def build(self, scores_shape, items_shape):
        pass

    def change(self, scores, items):
        total = ops.logsumexp(scores, axis=1, keepdims=True)
        score = ops.take_along_axis(scores, ops.cast(items, "int32"), axis=1)
        return self._mixed(scores, total, items, score, items)[0]

    def candidates(self, items):
        return items

    def change_candidates(self, scores, ids, rest, items):
        total = ops.logaddexp(ops.logsumexp(scores, axis=1), rest)[:, None]
        place, there = places_in(ids, items)
        score = ops.take_along_axis(scores, place, axis=1)
        score = ops.where(there, score, -float("inf"))
        scores, shift = self._mixed(scores, total, place, score, items)
        return scores, rest + shift[:, 0]

    def _mixed(self, scores, total, columns, score, items):
        """As `mix`, once the coefficients were fit.

        Args:
            columns: int tensor `(batch, time)`. Where the events' items stand.
            score: float tensor `(batch, time)`. What these score.
        """
        terms, pointed = self.terms(score, items)
        log_evidence = ops.sum(terms * ops.convert_to_tensor(self.coefficients), -1)
        evidence = ops.exp(ops.minimum(log_evidence, MOST_EVIDENCE))
        evidence = ops.where(pointed, evidence, 0.0)
        mixed, shift = mix(scores, total, columns, evidence)
        fitted = ops.convert_to_tensor(self.fitted)
        return ops.where(fitted, mixed, scores), ops.where(fitted, shift, 0.0)

    def terms(self, score, items):
        """What the logarithm of the evidence is a sum of.

        Args:
            score: float tensor `(batch, time)`. What the events' items score.
            items: int tensor `(batch, time)`.

        Returns:
            A pair of tensors: what each coefficient is multiplied with, `(batch, time,
            6)`; and whether an event has evidence, `(batch, time)`: the newest of each
            item that can be answered.
        """
        real = ops.not_equal(items, 0)
        open_ = ops.logical_and(real, score > -float("inf"))
        after = ops.cumsum(ops.cast(ops.flip(real, axis=1), "int32"), axis=1)
        step = ops.cast(ops.flip(after, axis=1), "float32")
        same = ops.logical_and(
            ops.equal(items[:, :, None], items[:, None, :]), open_[:, None, :]
        )
        newer = ops.logical_and(same, step[:, None, :] < step[:, :, None])
        pointed = ops.logical_and(open_, ops.logical_not(ops.any(newer, axis=2)))
        times = _log(ops.sum(ops.cast(same, "float32"), axis=2))
        count = _log(ops.sum(ops.cast(real, "float32"), axis=1, keepdims=True))
        variety = _log(ops.sum(ops.cast(pointed, "float32"), axis=1, keepdims=True))
        terms = [
            ops.ones_like(step),
            _log(step),
            ops.cast(ops.equal(step, 1.0), "float32"),
            times,
            ops.broadcast_to(count, ops.shape(step)),
            ops.broadcast_to(variety - count, ops.shape(step)),
        ]
        return ops.stack(terms, axis=-1), pointed

    def set_coefficients(self, values):
        """Gives the coefficients, a sequence of six floats; `None`: hands scores on.

        Raises:
            ValueError: they are not six finite numbers.
        """
        if values is None:
            self.fitted.assign(False)
            return
        values = as_array("The list of coefficients", values).astype("float32")
        if values.shape != (len(TERMS),) or not np.isfinite(values).all():
            raise ValueError(
                f"The coefficients of a CopyMechanism are {len(TERMS)} finite numbers, "
                f"of {', '.join(TERMS)}; not {values.tolist()}."
            )
        self.coefficients.assign(values)
        self.fitted.assign(True)

    @contextmanager
    def set_aside(self):
        """Hands scores on within a `with`: what is answered without the mechanism."""
        fitted = bool(ops.convert_to_numpy(self.fitted))
        try:
            self.fitted.assign(False)
            yield self
        finally:
            self.fitted.assign(fitted)


def _log(counts):
    """The logarithm of counts, 0 where there is nothing to count."""
    return ops.log(ops.maximum(counts, 1.0))
