import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import number
from keras_t4r.losses.samplers.alias_table import alias_table
from keras_t4r.losses.samplers.item_counts import (
    ItemCounts,
    check_known,
    filled_with,
    popularity,
)
from keras_t4r.losses.samplers.negative_sampler import RandomSampler


@keras.saving.register_keras_serializable(package="keras_t4r")
class PopularitySampler(RandomSampler):
    """Draws items by how often they were seen.

    With `c(i)` the count of item `i`: `q(i) = c(i)^alpha / sum over j of c(j)^alpha`.

    A draw costs the same for any catalogue (an alias table). The table is a weight,
    not trained: a saved model has it, a config only a fingerprint of the counts.

    Args:
        counts: floats `(V,)`, by id: how often each item was seen, such as
            `schema.vocabulary(schema.item_id).counts_by_id()`. What ids count that
            are no items is passed over. `None`: those that come with weights that are
            loaded; until then a `SessionModel` does not train.
        alpha: float. 1 draws as the log has it, 0 all items alike.
        negatives, per_target, seed: as of `RandomSampler`.

    Raises:
        TypeError, ValueError: counts are no numbers, negative, or of another number
            than the table's rows; or as of `RandomSampler`.

    Example:

    >>> loss = SampledSoftmax(PopularitySampler(counts, 0.75, negatives=256))

    References:
    - Mikolov et al., Distributed Representations of Words and Phrases and their
      Compositionality, NIPS 2013 (the power of 0.75).
    - Walker, An Efficient Method for Generating Discrete Random Variables with
      General Distributions, TOMS 1977.
    """

    def __init__(
        self, counts=None, alpha=0.75, negatives=256, per_target=False, seed=None
    ):
        super().__init__(negatives, per_target, seed)
        counts = ItemCounts(counts)
        self.counts, self._counts_config = counts.values, counts.config
        self.alpha = number("alpha", alpha, least=0, most=4)

    def build(self, head, rows, first_id):
        super().build(head, rows, first_id)
        counts = np.ones(rows) if self.counts is None else self.counts
        shares = popularity(counts, self.alpha, rows, first_id)
        kept, alias = alias_table(shares)
        with np.errstate(divide="ignore"):
            log_share = np.log(shares)
        if self.counts is None:
            log_share = np.full(rows, np.nan)

        def add(name, values, dtype):
            # Never in half precision, in which it would be another distribution.
            return head.add_weight(
                name=f"sampler_{name}",
                shape=(rows,),
                initializer=filled_with(values),
                trainable=False,
                autocast=False,
                dtype=dtype,
            )

        self.kept = add("kept", kept, "float32")
        self.alias = add("alias", alias, "int32")
        self.log_share = add("log_share", log_share, "float32")

    def check(self):
        check_known(self)

    def draw(self, targets, weights):
        shape = self.shape(targets)
        column = keras.random.randint(shape, 0, self.rows, seed=self.seed_generator)
        u = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        stays = u < ops.take(self.kept, column)
        return ops.where(stays, column, ops.take(self.alias, column))

    def log_counts(self, ids, weights):
        return ops.take(self.log_share, ids) + np.log(self.negatives)

    def get_config(self):
        own = {"counts": self._counts_config, "alpha": self.alpha}
        return {**super().get_config(), **own}
