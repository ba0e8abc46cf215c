import keras
from keras import ops

from keras_t4r.losses.sampled_loss import SampledLoss


@keras.saving.register_keras_serializable(package="keras_t4r")
class TOP1Max(SampledLoss):
    """The drawn items below the target and near 0, those that score highest above all.

    With scores `z`, a target `y`, and `s` the softmax of the negatives' scores:

    `loss = sum over i of s[i] * (sigmoid(z[i] - z[y]) + sigmoid(z[i]^2))`

    Args:
        negatives, hardest: as of `SampledLoss`.

    Raises:
        TypeError, ValueError: as of `SampledLoss`.

    Example:

    >>> head = NextItemHead(loss=TOP1Max(2048))

    References:
    - Hidasi and Karatzoglou, Recurrent Neural Networks with Top-k Gains for
      Session-based Recommendations, CIKM 2018.
    """

    def of_scores(self, positive, negative, is_one):
        kept = ops.where(is_one > 0, negative, 0.0)
        share = is_one * ops.exp(ops.log_softmax(negative, axis=1))
        gain = ops.sigmoid(kept - positive) + ops.sigmoid(ops.square(kept))
        return ops.sum(share * gain, axis=1)
