import math

import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, whole_number
from keras_t4r.losses.next_item_loss import NextItemLoss


@keras.saving.register_keras_serializable(package="keras_t4r")
class SampledSoftmax(NextItemLoss):
    """Cross-entropy of a softmax over the target and some drawn items.

    `negatives` ids are drawn evenly from all `V` rows of the table, once a step, and
    shared by all targets. With scores `z`, and `N` the draws that are not the target
    `y` itself:

    `loss = log(exp(z[y]) + (V - 1) / |N| * sum over i in N of exp(z[i])) - z[y]`

    The factor makes the sum an unbiased estimate of that of the full softmax. Ids that
    are no items add nothing to it. Of the table a step touches `negatives + targets`
    rows; of the bias all `V` numbers, and of a table that the head normalises all rows.

    Args:
        negatives: int. Items drawn.
        seed: int. Seed of the draws.

    Raises:
        ValueError: `negatives` is below 1.

    Example:

    >>> head = NextItemHead(loss=SampledSoftmax(256))

    References:
    - Jean et al., On Using Very Large Target Vocabulary for Neural Machine
      Translation, ACL 2015.
    - Wu et al., On the Effectiveness of Sampled Softmax Loss for Item
      Recommendation, TOIS 2024.
    """

    def __init__(self, negatives=256, seed=None):
        self.negatives = whole_number("negatives", negatives)
        self.seed = drawing_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, hidden, table, bias, targets, weights):
        rows = table.shape[0]
        drawn = keras.random.randint(
            (self.negatives,), 0, rows, seed=self.seed_generator
        )
        of_target = ops.cast(ops.take(table, targets, axis=0), "float32")
        z_target = ops.sum(hidden * of_target, axis=1) + ops.take(bias, targets)
        of_drawn = ops.cast(ops.take(table, drawn, axis=0), "float32")
        z = ops.matmul(hidden, ops.transpose(of_drawn)) + ops.take(bias, drawn)
        hit = ops.equal(ops.cast(targets, drawn.dtype)[:, None], drawn[None, :])
        others = self.negatives - ops.sum(ops.cast(hit, "float32"), axis=1)
        scale = math.log(max(rows - 1, 1)) - ops.log(ops.maximum(others, 1.0))
        z = ops.where(hit, -1e30, z + scale[:, None])
        z = ops.concatenate([z_target[:, None], z], axis=1)
        return ops.sum(weights * (ops.logsumexp(z, axis=1) - z_target))

    def get_config(self):
        return {"negatives": self.negatives, "seed": self.seed}
