from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize

from keras_t4r.layers.heads.copy_mechanism import (
    MOST_EVIDENCE,
    START,
    TERMS,
    CopyMechanism,
)
from keras_t4r.models.checks.divergence import check_scores
from keras_t4r.models.graph import find_layers
from keras_t4r.training.split_model import given_to
from keras_t4r.training.tuning_data import (
    check_layer,
    check_sessions,
    item_target,
    model_inputs,
)

# How much the coefficients of before weigh: as much as so many sessions.
_KEPT = 10.0
# Beyond it no coefficient changes an answer any more.
_BOUND = 15.0


class TunedCopy(NamedTuple):
    """What `tune_copy` found.

    Attributes:
        coefficients: dict of the name of a term to its coefficient.
        sessions: int. How many sessions it was fit to.
        before, after: float. Mean log likelihood of their last items, in nats, without
            the mechanism and with it.
    """

    coefficients: dict
    sessions: int
    before: float
    after: float

    def __str__(self):
        terms = "  ".join(f"{k} {v:.2f}" for k, v in self.coefficients.items())
        return (
            f"{terms}\n{self.sessions} sessions: log likelihood {self.before:.4f} "
            f"without, {self.after:.4f} with"
        )


def tune_copy(model, sessions, *, copy=None, target=None):
    """Fits a model's `CopyMechanism` to sessions that the network has not learned.

    The coefficients `a` are those of the highest

    `sum over the sessions of log p(last item; a) - 5 ||a - a_before||^2`:

    the more sessions there are, the less it counts what the coefficients were before.

    Args:
        model: functional `keras.Model` with a `CopyMechanism`; a `SessionModel`.
        sessions: `KerasSequenceLoader` with `target="last"`. Sessions that the network
            has not learned: those that it has, it knows by heart.
        copy: the `CopyMechanism`, where the model has several.
        target: string. Which of the loader's targets the scores rank, where it gives a
            dict of them. Defaults to the items.

    Returns:
        A `TunedCopy`. The mechanism has the coefficients.

    Raises:
        TypeError: the sessions are no loader, or the mechanism or the target is none.
        ValueError: the model has no `CopyMechanism` or several, the loader has no
            target or no session whose last item can be answered, its ids were
            encoded by another vocabulary than the model's, or the model has diverged:
            its scores are NaN.

    Example:

    ```python
    model.fit(days_1_to_6, epochs=5)
    day_7 = KerasSequenceLoader("sessions/7", schema, 512, target="last")
    print(tune_copy(model, day_7))
    ```
    """
    return CopyTuner(model, copy).tune(sessions, target=target)


class CopyTuner:
    """Tunes the copy mechanism of one model again and again, as `tune_copy` does once.

    Args:
        model, copy: see `tune_copy`.
    """

    def __init__(self, model, copy=None):
        self.copy = _only_copy(model) if copy is None else copy
        check_layer("copy", self.copy, CopyMechanism)
        self._model = model
        self._given = given_to(model, self.copy)

    def tune(self, sessions, *, target=None):
        """See `tune_copy`."""
        check_sessions(self._model, sessions, target)
        found = [
            self._batch(sessions[i], sessions, target) for i in range(len(sessions))
        ]
        likelihood = _Likelihood(found)
        start = np.array(START)
        if ops.convert_to_numpy(self.copy.fitted):
            start = ops.convert_to_numpy(self.copy.coefficients).astype("float64")

        def loss(a):
            value, slope = likelihood.at(a)
            away = a - start
            return _KEPT / 2 * away @ away - value, _KEPT * away - slope

        bounds = [(-_BOUND, _BOUND)] * len(TERMS)
        a = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
        self.copy.set_coefficients(a)
        return TunedCopy(
            dict(zip(TERMS, map(float, a), strict=True)),
            likelihood.sessions,
            likelihood.of_network(),
            likelihood.at(a)[0] / likelihood.weight.sum(),
        )

    def _batch(self, batch, sessions, target):
        """A batch's part of what `_Likelihood` takes."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        y = np.asarray(item_target(y, sessions, target))
        scores, items = self._given.predict_on_batch(model_inputs(self._model, x))
        items, scores = (ops.convert_to_numpy(value) for value in (items, scores))
        check_scores(scores)
        score = np.take_along_axis(scores, items, axis=1)
        terms, pointed = map(ops.convert_to_numpy, self.copy.terms(score, items))
        scores = scores.astype("float64")
        most = scores.max(axis=1, keepdims=True)
        total = np.log(np.exp(scores - most).sum(axis=1)) + most[:, 0]
        network = np.exp(scores[np.arange(len(y)), y] - total)
        weight = np.ones(len(y)) if weight is None else np.asarray(weight, "float64")
        hit = items == y[:, None]
        return terms[pointed], np.nonzero(pointed)[0], hit[pointed], network, weight


class _Likelihood:
    """How likely the last items of sessions are, by the coefficients.

    Args:
        batches: list of tuples: the terms of the events with evidence, `(events, 6)`;
            the session of each, and whether it is of the last item, `(events,)`; the
            network's probability of the last item and the weight of each session,
            `(sessions,)`.

    Raises:
        ValueError: no session counts anything.
    """

    def __init__(self, batches):
        terms, session, hit, network, weight = map(list, zip(*batches, strict=True))
        first = np.cumsum([0, *map(len, network)])
        session = [own + at for own, at in zip(session, first[:-1], strict=True)]
        self._terms = np.concatenate(terms).astype("float64")
        self._session = np.concatenate(session)
        self._hit = np.concatenate(hit).astype("float64")
        # A last item that cannot be answered says nothing.
        network, weight = np.concatenate(network), np.concatenate(weight)
        self.weight = np.where(network > 0, weight, 0.0)
        self._network = np.where(network > 0, network, 1.0)
        self.sessions = int((self.weight > 0).sum())
        if not self.sessions:
            raise ValueError(
                "No session's last item can be answered: there is nothing to fit the "
                "copy mechanism to."
            )

    def of_network(self):
        """The mean log likelihood without the mechanism, in nats."""
        return float(np.average(np.log(self._network), weights=self.weight))

    def at(self, a):
        """The sum of the log likelihoods, and its gradient."""
        evidence = np.exp(np.minimum(self._terms @ a, MOST_EVIDENCE))
        total = self._summed(evidence)
        right = self._network + self._summed(evidence * self._hit)
        value = self.weight @ (np.log(right) - np.log1p(total))
        slope = self._hit / right[self._session] - 1 / (1 + total)[self._session]
        slope = self.weight[self._session] * evidence * slope
        return value, slope @ self._terms

    def _summed(self, values):
        return np.bincount(self._session, values, minlength=len(self._network))


def _only_copy(model):
    found = find_layers(model, CopyMechanism)
    if not found:
        raise ValueError("The model has no CopyMechanism to tune.")
    if len(found) > 1:
        names = ", ".join(repr(layer.name) for layer in found)
        raise ValueError(
            f"The model has {len(found)} copy mechanisms, {names}: say which one to "
            "tune, copy=…."
        )
    return found[0]
