import math

import keras
from keras import ops

from keras_t4r.losses.samplers.negative_sampler import RandomSampler


@keras.saving.register_keras_serializable(package="keras_t4r")
class LogUniformSampler(RandomSampler):
    """Draws items by a Zipf law over their ids, which needs no counts.

    With `r` the rank of an item among `V`, 0 for the lowest id:

    `q(r) = log((r + 2) / (r + 1)) / log(V + 1)`

    The ETL gives ids from most to least frequent, so that this is near the popularity
    of a long-tailed log. Where a vocabulary was extended it is not: new items have the
    highest ids.

    Beyond some 16 million items float32 no longer tells neighbours apart.

    Args:
        negatives, per_target, seed: as of `RandomSampler`.

    Example:

    >>> loss = SampledSoftmax(LogUniformSampler(256))

    References:
    - Jean et al., On Using Very Large Target Vocabulary for Neural Machine
      Translation, ACL 2015 (`tf.random.log_uniform_candidate_sampler`).
    """

    def draw(self, targets, weights):
        items = self.rows - self.first_id
        octaves = math.log2(items + 1)
        # One number of 23 bits does not reach each of millions of items: the octave of
        # `rank + 1` is drawn first, of which the last is not a whole one.
        octave = ops.floor(octaves * self._uniform(targets))
        share = self._uniform(targets) * ops.minimum(octaves - octave, 1.0)
        within = ops.exp(math.log(2.0) * share)
        # The power of two is exact, as `exp` of an octave would not be.
        power = ops.left_shift(1, ops.cast(octave, "int32"))
        ranks = ops.cast(within * ops.cast(power, "float32"), "int32") - 1
        # Rounding may reach past either end.
        return self.first_id + ops.clip(ranks, 0, items - 1)

    def _uniform(self, targets):
        shape = self.shape(targets)
        return keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)

    def log_counts(self, ids, weights):
        ranks = ops.cast(ids - self.first_id, "float32")
        share = ops.log1p(1.0 / (ranks + 1.0))
        items = self.rows - self.first_id
        return ops.log(share) + math.log(self.negatives / math.log(items + 1))
