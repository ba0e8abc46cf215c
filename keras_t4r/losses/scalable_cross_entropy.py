import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, whole_number
from keras_t4r.backend import loop_in_order
from keras_t4r.losses.item_rows import ItemRows
from keras_t4r.losses.next_item_loss import NextItemLoss
from keras_t4r.losses.products.blocks import TILE_LOGITS
from keras_t4r.losses.sampled_loss import NOTHING, at_most


@keras.saving.register_keras_serializable(package="keras_t4r")
class ScalableCrossEntropy(NextItemLoss):
    """SCE: a softmax over the items that are likely to score high, found by buckets.

    Each of `buckets` random directions, mixed from the batch's own outputs, takes the
    `targets` outputs and the `items` items that lie furthest along it: hard negatives,
    found without the scores of all items. For an output `n` of bucket `b`, whose target
    is `y`, with scores `z` and the bucket's items `I(b)` but for `y`:

    `loss(n, b) = log(exp(z[y]) + sum over i in I(b) of exp(z[i])) - z[y]`

    An output counts with the largest of its buckets' losses. Those in no bucket count
    nothing in this step, and those in one the more, so that the sum is as large as if
    all were in one. Of the table a step reads all rows once, for the directions, some
    thousands at a time, and trains those of the buckets.

    Args:
        buckets: int. Directions.
        targets: int. Outputs in a bucket.
        items: int. Items in a bucket.
        seed: int. Seed of the directions.

    Raises:
        TypeError, ValueError: a number is no whole number from 1 on.

    Example:

    >>> head = NextItemHead(loss=ScalableCrossEntropy(64, targets=64, items=256))

    References:
    - Mezentsev et al., Scalable Cross-Entropy Loss for Sequential Recommendations with
      Large Item Catalogs, RecSys 2024.
    """

    def __init__(self, buckets=64, targets=64, items=256, seed=None):
        self.buckets = whole_number("buckets", buckets)
        self.targets = whole_number("targets", targets)
        self.items = whole_number("items", items)
        self.seed = drawing_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def build(self, head, rows, first_id):
        self.first_id = first_id

    def call(self, hidden, table, bias, targets, weights):
        return self.call_on_rows(hidden, ItemRows(table, bias), targets, weights)

    def call_on_rows(self, hidden, items, targets, weights):
        targets = ops.cast(targets, "int32")
        outputs, ids = self._buckets(hidden, items, weights)
        h = ops.take(hidden, outputs, axis=0)
        y = ops.take(targets, outputs)
        negative = ops.matmul(h, ops.transpose(items.vectors(ids), (0, 2, 1)))
        ids = ids[:, None, :]
        negative = negative + items.biases(ids)
        is_one = ops.logical_and(ids >= self.first_id, ids != y[:, :, None])
        negative = ops.where(is_one, negative, NOTHING)
        positive = ops.sum(h * items.vectors(y), axis=-1) + items.biases(y)
        scores = ops.concatenate([positive[..., None], negative], axis=-1)
        losses = ops.logsumexp(scores, axis=-1) - positive
        return _largest(losses, outputs, weights)

    def _buckets(self, hidden, items, weights):
        """Outputs `(buckets, targets)` and items `(buckets, items)` of the buckets."""
        hidden = ops.stop_gradient(hidden)
        counts = ops.cast(weights > 0, "float32")
        shape = (self.buckets, ops.shape(hidden)[0])
        mix = keras.random.normal(shape, seed=self.seed_generator)
        directions = ops.matmul(mix * counts, hidden)
        along = ops.matmul(directions, ops.transpose(hidden))
        along = ops.where(counts > 0, along, NOTHING)
        outputs = ops.top_k(along, at_most(self.targets, shape[1]), sorted=False)[1]
        return outputs, self._furthest(directions, items)

    def _furthest(self, directions, items):
        """Ids `(buckets, items)` of what lies furthest along each direction."""
        most, size = min(self.items, items.count), self._chunk(items.count)

        def add(i, best, ids):
            # The last chunk reaches back over items that the one before it has.
            first = ops.minimum(i * size, items.count - size)
            more = first + ops.arange(size)
            rows = ops.stop_gradient(items.vectors_from(first, size))
            along = ops.matmul(directions, ops.transpose(rows))
            new = ops.logical_and(more >= i * size, more >= self.first_id)
            along = ops.where(new, along, NOTHING)
            best = ops.concatenate([best, along], axis=1)
            more = ops.broadcast_to(more, (self.buckets, size))
            ids = ops.concatenate([ids, more], axis=1)
            best, place = ops.top_k(best, most, sorted=False)
            return i + 1, best, ops.take_along_axis(ids, place, axis=1)

        none = (
            ops.full((self.buckets, most), 2 * NOTHING),
            ops.zeros((self.buckets, most), "int32"),
        )
        chunks = -(-items.count // size)
        if chunks == 1:
            return add(0, *none)[2]
        return loop_in_order(lambda i, *_: i < chunks, add, (0, *none))[2]

    def _chunk(self, count):
        """How many items are looked at at a time."""
        return min(count, max(self.items, TILE_LOGITS // self.buckets))

    def get_config(self):
        return {
            "buckets": self.buckets,
            "targets": self.targets,
            "items": self.items,
            "seed": self.seed,
        }


def _largest(losses, outputs, weights):
    """The sum over the outputs of the largest loss of each, weighed."""
    count = ops.shape(weights)[0]
    # One more, which is left out again: PyTorch has no largest of none.
    losses = ops.concatenate([ops.reshape(losses, (-1,)), ops.zeros((1,))])
    none = ops.reshape(ops.cast(count, outputs.dtype), (1,))
    outputs = ops.concatenate([ops.reshape(outputs, (-1,)), none])
    largest = ops.segment_max(losses, outputs, num_segments=count + 1)[:count]
    ones = ops.ones_like(losses)
    seen = ops.segment_sum(ones, outputs, num_segments=count + 1)[:count] > 0
    covered = weights * ops.cast(seen, "float32")
    total = ops.sum(covered * ops.where(seen, largest, 0.0))
    share = ops.sum(covered) / ops.maximum(ops.sum(weights), 1e-12)
    return total / ops.maximum(share, 1e-12)
