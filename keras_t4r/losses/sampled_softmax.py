import keras
from keras import ops

from keras_t4r.arguments import optional, truth
from keras_t4r.losses.sampled_loss import SampledLoss


@keras.saving.register_keras_serializable(package="keras_t4r")
class SampledSoftmax(SampledLoss):
    """Cross-entropy of a softmax over the target and some drawn items.

    With scores `z`, a target `y`, the draws `N` that are not the target itself, and
    `m(i)` how often the sampler draws item `i` in a step, on average:

    `loss = log(exp(z[y]) + sum over i in N of exp(z[i]) / m(i)) - z[y]`

    The division (the logQ correction) makes the sum an unbiased estimate of that of
    the full softmax, whatever the sampler.

    Args:
        negatives, hardest: as of `SampledLoss`.
        log_q: bool. Whether to divide by `m(i)`. `None`: unless only the `hardest`
            count, which estimate no sum.

    Raises:
        TypeError, ValueError: as of `SampledLoss`.
        ValueError: `log_q` is true, and the sampler does not know how often it draws
            an item.

    Example:

    >>> head = NextItemHead(loss=SampledSoftmax(256))
    >>> head = NextItemHead(loss=SampledSoftmax(PopularitySampler(counts, 0.75)))

    References:
    - Jean et al., On Using Very Large Target Vocabulary for Neural Machine
      Translation, ACL 2015.
    - Wu et al., On the Effectiveness of Sampled Softmax Loss for Item
      Recommendation, TOIS 2024.
    - Wilm et al., Scaling Session-Based Transformer Recommendations using Optimized
      Negative Sampling and Loss Functions, RecSys 2023 (TRON: the hardest count).
    """

    def __init__(self, negatives=256, hardest=None, log_q=None):
        super().__init__(negatives, hardest)
        self.log_q = optional(truth, "log_q", log_q)
        self._corrects = hardest is None if log_q is None else self.log_q
        if self._corrects and not self.negatives.counts_are_known:
            raise ValueError(
                f"{type(self.negatives).__name__} does not know how often it draws an "
                "item, so the loss cannot correct for that: give it counts, or say "
                "log_q=False."
            )

    def corrected(self, scores, ids, weights):
        if not self._corrects:
            return scores
        return scores - self.negatives.log_counts(ids, weights)

    def of_scores(self, positive, negative, is_one):
        scores = ops.concatenate([positive, negative], axis=1)
        return ops.logsumexp(scores, axis=1) - positive[:, 0]

    def get_config(self):
        return {**super().get_config(), "log_q": self.log_q}
