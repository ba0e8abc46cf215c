import keras
from keras import ops

from keras_t4r.arguments import number
from keras_t4r.losses.sampled_loss import NOTHING, SampledLoss


@keras.saving.register_keras_serializable(package="keras_t4r")
class BPRMax(SampledLoss):
    """The target above the drawn item that scores highest, softly.

    With scores `z`, a target `y`, and `s` the softmax of the negatives' scores:

    `loss = -log(sum over i of s[i] * sigmoid(z[y] - z[i]))
            + l * sum over i of s[i] * z[i]^2`

    Args:
        negatives, hardest: as of `SampledLoss`.
        regularization: float. `l`, which keeps scores near 0.

    Raises:
        TypeError, ValueError: as of `SampledLoss`; or `regularization` is no number
            from 0 on.

    Example:

    >>> head = NextItemHead(loss=BPRMax(2048, regularization=0.5))

    References:
    - Hidasi and Karatzoglou, Recurrent Neural Networks with Top-k Gains for
      Session-based Recommendations, CIKM 2018.
    """

    def __init__(self, negatives=256, hardest=None, regularization=1.0):
        super().__init__(negatives, hardest)
        self.regularization = number("regularization", regularization, least=0)

    def of_scores(self, positive, negative, is_one):
        kept = ops.where(is_one > 0, negative, 0.0)
        log_share = ops.log_softmax(negative, axis=1)
        # A sum of products, in logarithms, so that it does not vanish.
        log_gain = -ops.softplus(kept - positive)
        gain = ops.where(is_one > 0, log_share + log_gain, NOTHING)
        penalty = ops.sum(is_one * ops.exp(log_share) * ops.square(kept), axis=1)
        loss = self.regularization * penalty - ops.logsumexp(gain, axis=1)
        # Without a negative there is nothing to be above of.
        return ops.where(ops.sum(is_one, axis=1) > 0, loss, 0.0)

    def get_config(self):
        return {**super().get_config(), "regularization": self.regularization}
