"""Baselines that count: what a network has to beat to earn its keep."""

from keras_t4r.training.baselines.baseline import Baseline
from keras_t4r.training.baselines.markov import Markov
from keras_t4r.training.baselines.popularity import Popularity
from keras_t4r.training.baselines.session_popularity import SessionPopularity
from keras_t4r.training.baselines.stan import STAN
from keras_t4r.training.baselines.standard import standard_baselines
from keras_t4r.training.baselines.vsknn import VSkNN

__all__ = [
    "STAN",
    "Baseline",
    "Markov",
    "Popularity",
    "SessionPopularity",
    "VSkNN",
    "standard_baselines",
]
