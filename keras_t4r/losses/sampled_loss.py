import keras
from keras import ops

from keras_t4r.arguments import whole_number
from keras_t4r.losses.item_rows import ItemRows
from keras_t4r.losses.next_item_loss import NextItemLoss
from keras_t4r.losses.samplers.get_sampler import get_sampler

# The score of what is no negative. Finite, so that 0 times it is 0.
NOTHING = -1e30


def at_most(number, limit):
    """The lesser of an int and a length, which may be a tensor."""
    return min(number, limit) if isinstance(limit, int) else ops.minimum(number, limit)


class SampledLoss(NextItemLoss):
    """Base of the losses of a target against some drawn items.

    A step touches the rows of what is drawn and of the targets, and no others, of the
    table and of the bias. A draw that is the target itself is none: it weighs exactly
    nothing.

    Args:
        negatives: int, items drawn evenly once a step, or a sampler of
            `keras_t4r.losses.samplers`.
        hardest: int. Of the draws, only so many count for a target: those that score
            highest. `None`: all.

    Raises:
        TypeError, ValueError: `negatives` is neither a whole number from 1 on nor a
            sampler; `hardest` is no whole number from 1 on.
    """

    def __init__(self, negatives=256, hardest=None):
        self.negatives = get_sampler(negatives)
        self.hardest = None if hardest is None else whole_number("hardest", hardest)

    def build(self, head, rows, first_id):
        self.first_id = first_id
        self.negatives.build(head, rows, first_id)

    def check(self):
        self.negatives.check()

    @property
    def seed_generators(self):
        return self.negatives.seed_generators

    def call(self, hidden, table, bias, targets, weights):
        return self.call_on_rows(hidden, ItemRows(table, bias), targets, weights)

    def call_on_rows(self, hidden, items, targets, weights):
        targets = ops.cast(targets, "int32")
        positive = ops.sum(hidden * items.vectors(targets), axis=1)
        positive = positive + items.biases(targets)
        ids = ops.cast(self.negatives.draw(targets, weights), "int32")
        rows = items.vectors(ids)
        if len(ids.shape) == 1:
            negative = ops.matmul(hidden, ops.transpose(rows))
            ids = ids[None, :]
        else:
            negative = ops.matmul(rows, hidden[:, :, None])[:, :, 0]
        negative = negative + items.biases(ids)
        is_one = ops.logical_and(ids >= self.first_id, ids != targets[:, None])
        negative = ops.where(is_one, self.corrected(negative, ids, weights), NOTHING)
        if self.hardest is not None:
            most = at_most(self.hardest, ops.shape(negative)[1])
            negative, _ = ops.top_k(negative, most, sorted=False)
            is_one = negative > NOTHING
        is_one = ops.cast(is_one, "float32")
        losses = self.of_scores(positive[:, None], negative, is_one)
        return ops.sum(weights * losses)

    def corrected(self, scores, ids, weights):
        """The negatives' scores as the loss takes them."""
        return scores

    def of_scores(self, positive, negative, is_one):
        """The loss of each target.

        Args:
            positive: float32 tensor `(n, 1)`. The targets' scores.
            negative: float32 tensor `(n, m)`. The scores of what was drawn; -1e30
                where a draw is none.
            is_one: float32 tensor, broadcastable to `(n, m)`: 1 for negatives, and 0
                where a draw is the target itself, or no item.

        Returns:
            A float32 tensor `(n,)`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `of_scores`.")

    def get_config(self):
        return {
            "negatives": keras.saving.serialize_keras_object(self.negatives),
            "hardest": self.hardest,
        }
