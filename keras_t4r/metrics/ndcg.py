import keras
from keras import ops

from keras_t4r.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="keras_t4r")
class NDCG(RankingMetric):
    """Normalised discounted cumulative gain: `1 / log2(1 + rank)`.

    Args:
        k: int. Only the first `k` places count.
        name: string. Defaults to `ndcg_{k}`.

    Example:

    >>> metric = NDCG(k=2)
    >>> metric.update_state([1], [[0.1, 0.7, 0.9]])

    References:
    - Järvelin and Kekäläinen, Cumulated gain-based evaluation, TOIS 2002.
    """

    short_name = "ndcg"

    def gain(self, rank):
        return 1.0 / ops.log2(1.0 + rank)
