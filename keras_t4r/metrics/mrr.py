import keras

from keras_t4r.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="keras_t4r")
class MRR(RankingMetric):
    """Mean reciprocal rank: `1 / rank`.

    Args:
        k: int. Only the first `k` places count.
        name: string. Defaults to `mrr_{k}`.

    Example:

    >>> metric = MRR(k=2)
    >>> metric.update_state([1], [[0.1, 0.7, 0.9]])

    References:
    - Voorhees, The TREC-8 question answering track report, 1999.
    """

    short_name = "mrr"

    def gain(self, rank):
        return 1.0 / rank
