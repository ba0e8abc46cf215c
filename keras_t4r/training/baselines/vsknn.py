"""V-SkNN: vector multiplication session k-nearest-neighbours."""

import numpy as np

from keras_t4r.arguments import number, one_of
from keras_t4r.training.baselines._neighbours import SessionKNN

_BY_PLACE = {  # Of the item at place p of n, counted from the session's start.
    "same": lambda p, n: np.ones(len(p)),
    "linear": lambda p, n: np.maximum(0.0, 1.0 - 0.1 * (n - p)),
    "div": lambda p, n: p / n,
    "log": lambda p, n: 1.0 / np.log10(n - p + 1.7),
    "quadratic": lambda p, n: (p / n) ** 2,
}
_BY_STEP = {  # Of the item d steps from the session's end; 1 is the last.
    "same": lambda d: np.ones(len(d)),
    "linear": lambda d: np.maximum(0.0, 1.0 - 0.1 * d),
    "div": lambda d: 1.0 / d,
    "log": lambda d: 1.0 / np.log10(d + 1.7),
    "quadratic": lambda d: 1.0 / d**2,
}


class VSkNN(SessionKNN):
    """Recommends what the most similar recent sessions held, late matches first.

    For a session `s` of length `|s|`, `p(i)` the place of `i` in it (counted from 1),
    and a stored session `n`:

    `similarity(n) = sum over i in both of weighting(p(i), |s|) / |s|`

    `score(j) = sum over neighbours n that hold j of
                similarity(n) * vote_weighting(d(n)) * (1 + idf * log(N / N(j)))`

    where `d(n)` is how many steps before the end of `s` the latest item shared with
    `n` stands (1: the last), `N` the number of stored sessions and `N(j)` those that
    hold `j`. The defaults are the ones published for YOOCHOOSE.

    | weighting   | of items             | of votes         |
    |-------------|----------------------|------------------|
    | `same`      | 1                    | 1                |
    | `linear`    | 1 - 0.1 (n - p)      | 1 - 0.1 d        |
    | `div`       | p / n                | 1 / d            |
    | `log`       | 1 / log10(n - p + 1.7) | 1 / log10(d + 1.7) |
    | `quadratic` | (p / n)²             | 1 / d²           |

    Args:
        k: int. Number of neighbours.
        sample_size: int. Number of most recent candidates that share an item.
        weighting: string. How items of the running session weigh in the similarity.
        vote_weighting: string. How a neighbour's votes fall with `d(n)`.
        idf: float. Weight of rarity in the votes.
        max_sessions: int. How many sessions are stored; the most recent stay.
        **kwargs: Arguments of `Baseline`. A `half_life` halves similarities by age.

    Example:

    >>> baseline = VSkNN(schema, k=200).update("sessions/1").update("sessions/2")
    >>> scores = baseline.predict({"item_id": [[5, 9, 0, 0]]})

    References:
        - [Ludewig & Jannach, 2018](https://arxiv.org/abs/1803.09587)
        - [Ludewig et al., 2021](https://arxiv.org/abs/1910.12781), hyper-parameters
    """

    name = "vsknn"

    def __init__(
        self,
        schema=None,
        *,
        k=100,
        sample_size=1000,
        weighting="quadratic",
        vote_weighting="quadratic",
        idf=0.0,
        **kwargs,
    ):
        super().__init__(schema, k=k, sample_size=sample_size, **kwargs)
        one_of("weighting", weighting, sorted(_BY_STEP))
        one_of("vote_weighting", vote_weighting, sorted(_BY_STEP))
        self.weighting = weighting
        self.vote_weighting = vote_weighting
        self.idf = number("idf", idf, least=0)

    def _weigh_items(self, steps, lengths):
        return _BY_PLACE[self.weighting](lengths - steps + 1, lengths) / lengths

    def _vote(self, items, last, distance):
        rarity = np.log(len(self._sizes) / self._frequency[items])
        return _BY_STEP[self.vote_weighting](last) * (1 + self.idf * rarity)
