import keras
from keras import ops

from keras_t4r.arguments import whole_number
from keras_t4r.metrics.ranks import target_ranks


class RankingMetric(keras.metrics.Metric):
    """Mean over sessions of a function of the rank of the item that came next.

    The rank is counted over the whole catalogue (see `target_ranks`), and the
    mean is taken over all sessions of all batches. Sessions whose target is
    padding (id 0) do not count; those whose target is unknown are misses. Where a
    target's score is NaN, so is the mean: no callback takes it for better than a
    number.

    Args:
        k: int. Only the first `k` places count.
        name: string. Defaults to the metric's name and `k`, as in `ndcg_20`.
    """

    # Callbacks in mode="auto" ask a metric whether more is better.
    _direction = "up"

    def __init__(self, k=10, name=None, dtype=None):
        if not isinstance(name, str | None):
            raise TypeError(f"name is {name!r}; it should be text.")
        super().__init__(name=name or f"{self.short_name}_{k}", dtype=dtype)
        self.k = whole_number("k", k)
        # Made here and not at first use: JAX fixes its variables beforehand.
        self.total = self.add_variable((), "zeros", dtype="float32", name="total")
        self.count = self.add_variable((), "zeros", dtype="float32", name="count")

    def gain(self, rank):
        """What a target at `rank` (1, 2, …, k) is worth."""
        raise NotImplementedError

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.update_ranks(target_ranks(y_true, y_pred), y_true, sample_weight)

    def update_ranks(self, ranks, y_true, sample_weight=None):
        """Updates from ranks, which several metrics can share."""
        weight = ops.cast(ops.greater(y_true, 0), "float32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")
        gain = ops.where(ranks <= self.k, self.gain(ranks), 0.0)
        gain = ops.where(ops.isnan(ranks), ranks, gain)
        # What does not count is no NaN either.
        gain = ops.where(ops.equal(weight, 0.0), 0.0, weight * gain)
        self.total.assign_add(ops.sum(gain))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return ops.divide_no_nan(
            ops.convert_to_tensor(self.total), ops.convert_to_tensor(self.count)
        )

    def get_config(self):
        return {**super().get_config(), "k": self.k}
