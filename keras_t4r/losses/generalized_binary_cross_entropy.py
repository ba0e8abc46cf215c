import keras
from keras import ops

from keras_t4r.arguments import number
from keras_t4r.losses.binary_cross_entropy import binary_cross_entropy
from keras_t4r.losses.sampled_loss import SampledLoss


@keras.saving.register_keras_serializable(package="keras_t4r")
class GeneralizedBinaryCrossEntropy(SampledLoss):
    """gBCE: binary cross-entropy that few negatives do not make overconfident.

    With scores `z`, a target `y`, `k` negatives `N` of the `V - 1` items that are not
    the target, their share `a = k / (V - 1)` and the calibration `t`:

    `loss = -(b * log sigmoid(z[y]) + sum over i in N of log(1 - sigmoid(z[i])))
            / (k + 1)`, with

    `b = a * (t * (1 - 1 / a) + 1 / a)`

    `t = 0` is binary cross-entropy; with `t = 1` the sigmoid of a score estimates the
    probability of its item, as if all items had been negatives. That is so of items
    that are drawn evenly; of other samplers `a` is no longer how often an item is
    drawn, and the scores are calibrated for none.

    Args:
        negatives: as of `SampledLoss`. gSASRec draws 256 for each target,
            `UniformSampler(256, per_target=True)`; a number draws for all targets at
            once, which takes less time and memory.
        calibration: float in [0, 1]. `t`.

    Raises:
        TypeError, ValueError: as of `SampledLoss`; or `calibration` is no number in
            [0, 1].

    Example:

    >>> head = NextItemHead(loss=GeneralizedBinaryCrossEntropy(256, calibration=0.75))

    References:
    - Petrov and Macdonald, gSASRec: Reducing Overconfidence in Sequential
      Recommendation Trained with Negative Sampling, RecSys 2023.
    """

    def __init__(self, negatives=256, calibration=0.75):
        super().__init__(negatives)
        self.calibration = number("calibration", calibration, least=0, most=1)

    def build(self, head, rows, first_id):
        super().build(head, rows, first_id)
        self.others = max(rows - first_id - 1, 1)

    def of_scores(self, positive, negative, is_one):
        # Of a whole batch: rows of padding draw nothing, and hits are no negatives.
        drawn = ops.sum(is_one, axis=1)
        share = ops.minimum(drawn / self.others, 1.0)
        # The same without 1 / a, for there may be no negative.
        power = 1.0 + self.calibration * (share - 1.0)
        return binary_cross_entropy(positive, negative, is_one, power)

    def get_config(self):
        own = super().get_config()
        return {"negatives": own["negatives"], "calibration": self.calibration}
