import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import optional, truth
from keras_t4r.losses.samplers.item_counts import (
    ItemCounts,
    check_known,
    filled_with,
    popularity,
)
from keras_t4r.losses.samplers.negative_sampler import NegativeSampler


@keras.saving.register_keras_serializable(package="keras_t4r")
class InBatchSampler(NegativeSampler):
    """Takes the targets of the batch as each other's negatives.

    They are drawn as the log has them: `q(i) = c(i) / sum over j of c(j)`. Their rows
    of the table are gathered anyhow, so they are nearly free; but popular items are
    punished for being popular, unless the loss corrects for `q`.

    Args:
        counts: floats `(V,)`, by id, as of `PopularitySampler`. An item that counts 0,
            and is a target nevertheless, is taken for one of the rarest. `None`: the
            loss cannot correct for `q`, and says so unless it is told `log_q=False`.
        corrected: bool. Whether the loss can. `None`: where there are counts. True
            without counts, as in a config, where they come with weights that are
            loaded; until then a `SessionModel` does not train.

    Raises:
        TypeError, ValueError: as of `PopularitySampler`; or there are counts, and
            `corrected` is false.

    Example:

    >>> loss = SampledSoftmax(InBatchSampler(counts))

    References:
    - Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
      Recommendations, RecSys 2019.
    """

    def __init__(self, counts=None, corrected=None):
        counted = ItemCounts(counts)
        self.counts, self._counts_config = counted.values, counted.config
        corrected = optional(truth, "corrected", corrected)
        if counts is not None and corrected is False:
            raise ValueError(
                "An InBatchSampler was given counts, and corrected=False, for which it "
                "needs none: leave one of them out."
            )
        self.corrected = counts is not None if corrected is None else corrected

    def build(self, head, rows, first_id):
        self.rows, self.first_id = rows, first_id
        if not self.corrected:
            return
        # Without counts the loss is no number, until weights are loaded.
        log_share = np.full(rows, np.nan)
        if self.counts is not None:
            shares = popularity(self.counts, 1.0, rows, first_id)
            # What is in a batch was seen: a share of 0 would divide by it.
            log_share = np.log(np.maximum(shares, shares[shares > 0].min()))
        self.log_share = head.add_weight(
            name="in_batch_log_share",
            shape=(rows,),
            initializer=filled_with(log_share),
            trainable=False,
            autocast=False,
            dtype="float32",
        )

    def check(self):
        if self.corrected:
            check_known(self)

    @property
    def counts_are_known(self):
        return self.corrected

    @property
    def seed_generators(self):
        return []

    def draw(self, targets, weights):
        ids = ops.where(weights > 0, ops.cast(targets, "int32"), 0)
        # One more, which is none: a batch may have no targets.
        return ops.concatenate([ids, ops.zeros((1,), "int32")])

    def log_counts(self, ids, weights):
        count = ops.sum(ops.cast(weights > 0, "float32"))
        return ops.take(self.log_share, ids) + ops.log(ops.maximum(count, 1.0))

    def get_config(self):
        return {"counts": self._counts_config, "corrected": self.corrected}
