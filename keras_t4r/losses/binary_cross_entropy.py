import keras
from keras import ops

from keras_t4r.losses.sampled_loss import SampledLoss
from keras_t4r.losses.samplers.uniform import UniformSampler


@keras.saving.register_keras_serializable(package="keras_t4r")
class BinaryCrossEntropy(SampledLoss):
    """Whether an item is the target, asked of the target and of each drawn item.

    With scores `z`, a target `y` and `k` negatives `N`:

    `loss = -(log sigmoid(z[y]) + sum over i in N of log(1 - sigmoid(z[i]))) / (k + 1)`

    With few negatives the scores come out too high, the more so the fewer there are:
    see `GeneralizedBinaryCrossEntropy`.

    Args:
        negatives, hardest: as of `SampledLoss`; `negatives=None` draws one item for
            each target, evenly, as SASRec does. (A number draws for all targets at
            once: with 1, all of a step are held against the same item.)

    Raises:
        TypeError, ValueError: as of `SampledLoss`.

    Example:

    >>> head = NextItemHead(loss=BinaryCrossEntropy())

    References:
    - Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018.
    """

    def __init__(self, negatives=None, hardest=None):
        if negatives is None:
            negatives = UniformSampler(1, per_target=True)
        super().__init__(negatives, hardest)

    def of_scores(self, positive, negative, is_one):
        return binary_cross_entropy(positive, negative, is_one, 1.0)


def binary_cross_entropy(positive, negative, is_one, power):
    """That of each target, with its probability to a power."""
    kept = ops.where(is_one > 0, negative, 0.0)
    of_negatives = ops.sum(is_one * ops.softplus(kept), axis=1)
    of_positive = power * ops.softplus(-positive[:, 0])
    return (of_positive + of_negatives) / (ops.sum(is_one, axis=1) + 1.0)
