import keras

from keras_t4r.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="keras_t4r")
class MAP(RankingMetric):
    """Mean average precision; with one target the same as `MRR`.

    Args:
        k: int. Only the first `k` places count.
        name: string. Defaults to `map_{k}`.

    Example:

    >>> metric = MAP(k=2)
    >>> metric.update_state([1], [[0.1, 0.7, 0.9]])

    References:
    - Manning et al., Introduction to Information Retrieval, 2008, ch. 8.
    """

    short_name = "map"

    def gain(self, rank):
        return 1.0 / rank
