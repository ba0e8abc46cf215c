import keras
from keras import ops

from keras_t4r.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="keras_t4r")
class Recall(RankingMetric):
    """Recall, with one target the hit rate: 1 where it is among the first `k`.

    Args:
        k: int. Only the first `k` places count.
        name: string. Defaults to `recall_{k}`.

    Example:

    >>> metric = Recall(k=2)
    >>> metric.update_state([1], [[0.1, 0.7, 0.9]])

    References:
    - Cremonesi et al., Performance of recommender algorithms on top-n
      recommendation tasks, RecSys 2010.
    """

    short_name = "recall"

    def gain(self, rank):
        return ops.ones_like(rank)
