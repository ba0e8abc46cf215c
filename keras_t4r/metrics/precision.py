import keras
from keras import ops

from keras_t4r.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="keras_t4r")
class Precision(RankingMetric):
    """Precision, with one target: `1 / k` where it is among the first `k`.

    Args:
        k: int. Only the first `k` places count.
        name: string. Defaults to `precision_{k}`.

    Example:

    >>> metric = Precision(k=2)
    >>> metric.update_state([1], [[0.1, 0.7, 0.9]])

    References:
    - Herlocker et al., Evaluating collaborative filtering recommender systems,
      TOIS 2004.
    """

    short_name = "precision"

    def gain(self, rank):
        return ops.ones_like(rank) / self.k
