import keras
from keras import ops

from keras_t4r.losses.samplers.get_sampler import get_sampler
from keras_t4r.losses.samplers.negative_sampler import NegativeSampler


@keras.saving.register_keras_serializable(package="keras_t4r")
class MixedSampler(NegativeSampler):
    """Draws from several samplers at once.

    An id is drawn as often as all of them draw it together: `m(i) = sum of m_s(i)`.

    Args:
        samplers: list of samplers that share what they draw among the targets.

    Raises:
        TypeError: it is no list of samplers.
        ValueError: it is empty, or a sampler draws for each target.

    Example:

    >>> mixed = MixedSampler([InBatchSampler(counts), UniformSampler(64)])
    >>> loss = SampledSoftmax(mixed)

    References:
    - Yang et al., Mixed Negative Sampling for Learning Two-tower Neural Networks in
      Recommendations, WWW 2020.
    """

    def __init__(self, samplers):
        if not isinstance(samplers, (list, tuple)):
            raise TypeError(f"samplers is {samplers!r}; it should be a list of them.")
        if not samplers:
            raise ValueError("samplers is empty: a MixedSampler has nothing to draw.")
        self.samplers = [get_sampler(sampler) for sampler in samplers]
        for sampler in self.samplers:
            if getattr(sampler, "per_target", False):
                raise ValueError(
                    "A MixedSampler shares what it draws among the targets; one of its "
                    f"samplers, a {type(sampler).__name__}, draws for each target."
                )

    def build(self, head, rows, first_id):
        for sampler in self.samplers:
            sampler.build(head, rows, first_id)

    def check(self):
        for sampler in self.samplers:
            sampler.check()

    def draw(self, targets, weights):
        drawn = [sampler.draw(targets, weights) for sampler in self.samplers]
        return ops.concatenate([ops.cast(ids, "int32") for ids in drawn])

    def log_counts(self, ids, weights):
        counts = [sampler.log_counts(ids, weights) for sampler in self.samplers]
        return ops.logsumexp(ops.stack(counts), axis=0)

    @property
    def counts_are_known(self):
        return all(sampler.counts_are_known for sampler in self.samplers)

    @property
    def seed_generators(self):
        return [seed for sampler in self.samplers for seed in sampler.seed_generators]

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {"samplers": [serialize(sampler) for sampler in self.samplers]}
