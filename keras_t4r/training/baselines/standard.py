"""The set of baselines to put beside a model's figures."""

import math

from keras_t4r.arguments import number, optional
from keras_t4r.training.baselines.markov import Markov
from keras_t4r.training.baselines.popularity import Popularity
from keras_t4r.training.baselines.session_popularity import SessionPopularity
from keras_t4r.training.baselines.stan import STAN
from keras_t4r.training.baselines.vsknn import VSkNN


def standard_baselines(schema=None, *, half_life=4.0, **kwargs):
    """Makes one of each baseline, with arguments that do well on e-commerce clicks.

    They were chosen on days of YOOCHOOSE clicks. `Markov` comes twice: from one click
    to the next, strongest on news, and over up to three steps in both directions,
    strongest in the shop.

    Args:
        schema: `Schema` or None, as for `Baseline`.
        half_life: float or None. Windows after which a count weighs half; STAN's own
            decay by age leaves its place to it. Popularity, which fades faster, takes
            a quarter of it. Hourly windows of news did best with 2.
        **kwargs: Further arguments of `Baseline`. News did best with
            `exclude_seen=True`.

    Returns:
        dict of `{label: Baseline}`, from the simplest to the most complex.

    Example:

    >>> baselines = standard_baselines(schema)
    >>> for baseline in baselines.values():
    ...     baseline.update("sessions/1")
    """
    half_life = optional(number, "half_life", half_life, above=0, most=math.inf)
    kwargs["half_life"] = half_life
    fast = {**kwargs, "half_life": None if half_life is None else half_life / 4}
    return {
        "Popularity": Popularity(schema, **fast),
        "SessionPopularity": SessionPopularity(schema, **fast),
        "Markov, forward": Markov(schema, bidirectional=False, **kwargs),
        "Markov, 3 steps": Markov(schema, span=3, **kwargs),
        "VSkNN": VSkNN(
            schema,
            k=300,
            sample_size=3000,
            weighting="div",
            vote_weighting="div",
            idf=0.3,
            **kwargs,
        ),
        "STAN": STAN(schema, decay_age=None, **kwargs),
    }
