"""STAN: sequence and time aware neighbourhood."""

import math

import numpy as np

from keras_t4r.arguments import number, optional
from keras_t4r.training.baselines._neighbours import SessionKNN


class STAN(SessionKNN):
    """Session neighbours with three exponential decays: place, age and distance.

    For a session `s`, `d(i)` the steps from its end to item `i` (1: the last), and a
    stored session `n` that started at `t(n)`; `|s|` counts the items of `s`, `|n|` the
    distinct ones of `n`:

    `similarity(n) = sum over i in both of exp(-(d(i) - 1) / decay_place)
                     / sqrt(|s| |n|) * exp(-(t - t(n)) / decay_age)`

    `score(j) = sum over neighbours n that hold j of
                similarity(n) * exp(-|p(j) - p(i*)| / decay_distance)`

    where `p` is the place in `n`, and `i*` the item that `s` saw last of those that
    both hold. `t` is the newest start known: a later one multiplies all scores alike.

    Args:
        decay_place: float. λ1, in items of the running session.
        decay_age: float or None. λ2, in days where windows have the column
            `time_column`, else in windows. None leaves age out.
        decay_distance: float. λ3, in items of the neighbour.
        k: int. Number of neighbours.
        sample_size: int. Number of most recent candidates that share an item.
        max_sessions: int. How many sessions are stored; the most recent stay.
        **kwargs: Arguments of `Baseline`.

    Example:

    >>> baseline = STAN(schema, decay_age=10).update("sessions/1").update("sessions/2")
    >>> scores = baseline.predict({"item_id": [[5, 9, 0, 0]]})

    References:
        - [Garg et al., 2019](https://doi.org/10.1145/3331184.3331322)
        - [Ludewig et al., 2021](https://arxiv.org/abs/1910.12781), hyper-parameters
    """

    name = "stan"

    def __init__(
        self,
        schema=None,
        *,
        decay_place=1.02,
        decay_age=5.0,
        decay_distance=2.05,
        k=500,
        sample_size=5000,
        **kwargs,
    ):
        super().__init__(schema, k=k, sample_size=sample_size, **kwargs)
        limits = {"above": 0, "most": math.inf}
        self.decay_place = number("decay_place", decay_place, **limits)
        self.decay_age = optional(number, "decay_age", decay_age, **limits)
        self.decay_distance = number("decay_distance", decay_distance, **limits)

    def _weigh_items(self, steps, lengths):
        return np.exp(-(steps - 1) / self.decay_place) / np.sqrt(lengths)

    def _weigh_sessions(self):
        weight = 1.0 / np.sqrt(self._sizes)
        if self.decay_age is not None and len(weight):
            weight *= np.exp((self._days - self._days[-1]) / self.decay_age)
        return weight

    def _vote(self, items, last, distance):
        return np.exp(-distance / self.decay_distance)
