import math

import keras
from keras import ops

from keras_t4r.losses.samplers.negative_sampler import RandomSampler


@keras.saving.register_keras_serializable(package="keras_t4r")
class UniformSampler(RandomSampler):
    """Draws all items alike: `q(i) = 1 / V`, of `V` items.

    Args:
        negatives, per_target, seed: as of `RandomSampler`.

    Example:

    >>> loss = SampledSoftmax(UniformSampler(256, per_target=True))

    References:
    - Klenitskiy and Vasilev, Turning Dross Into Gold Loss, RecSys 2023.
    """

    def draw(self, targets, weights):
        return keras.random.randint(
            self.shape(targets), self.first_id, self.rows, seed=self.seed_generator
        )

    def log_counts(self, ids, weights):
        count = math.log(self.negatives / (self.rows - self.first_id))
        return ops.full(ops.shape(ids), count, "float32")
