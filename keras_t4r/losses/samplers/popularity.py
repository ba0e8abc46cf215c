import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import number
from keras_t4r.losses.samplers.alias_table import alias_table
from keras_t4r.losses.samplers.negative_sampler import RandomSampler


@keras.saving.register_keras_serializable(package="keras_t4r")
class PopularitySampler(RandomSampler):
    """Draws items by how often they were seen.

    With `c(i)` the count of item `i`: `q(i) = c(i)^alpha / sum over j of c(j)^alpha`.

    A draw costs the same for any catalogue (an alias table). The table is a weight,
    not trained: a saved model has it, a config does not.

    Args:
        counts: floats `(V,)`, by id: how often each item was seen, such as
            `schema.vocabulary(schema.item_id).counts_by_id()`. What ids count that
            are no items is passed over. `None`: all items alike, until weights are
            loaded, which have the counts.
        alpha: float. 1 draws as the log has it, 0 all items alike.
        negatives, per_target, seed: as of `RandomSampler`.

    Raises:
        ValueError: counts are negative, or of another number than the table's rows.

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
        self.counts = None if counts is None else np.asarray(counts, "float64")
        self.alpha = number("alpha", alpha, least=0, most=4)

    def build(self, head, rows, first_id):
        super().build(head, rows, first_id)
        counts = np.ones(rows) if self.counts is None else self.counts
        shares = popularity(counts, self.alpha, rows, first_id)
        kept, alias = alias_table(shares)
        with np.errstate(divide="ignore"):
            log_share = np.log(shares)
        add = {"trainable": False, "autocast": False}
        self.kept = head.add_weight(
            name="sampler_kept", shape=(rows,), initializer=filled_with(kept), **add
        )
        self.alias = head.add_weight(
            name="sampler_alias",
            shape=(rows,),
            initializer=filled_with(alias),
            dtype="int32",
            **add,
        )
        self.log_share = head.add_weight(
            name="sampler_log_share",
            shape=(rows,),
            initializer=filled_with(log_share),
            **add,
        )

    def draw(self, targets, weights):
        shape = self.shape(targets)
        column = keras.random.randint(shape, 0, self.rows, seed=self.seed_generator)
        u = keras.random.uniform(shape, seed=self.seed_generator)
        stays = u < ops.take(self.kept, column)
        return ops.where(stays, column, ops.take(self.alias, column))

    def log_counts(self, ids, weights):
        return ops.take(self.log_share, ids) + np.log(self.negatives)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}


def popularity(counts, alpha, rows, first_id):
    """`q(i)` of all ids; 0 for those that are no items.

    Raises:
        ValueError: as of `PopularitySampler`.
    """
    if counts.shape != (rows,):
        raise ValueError(
            f"A sampler has counts of shape {counts.shape}; the table has {rows} rows, "
            f"so it should be ({rows},): a count for each id, from 0 on."
        )
    if not (counts >= 0).all() or not np.isfinite(counts).all():
        row = int(np.argmax(~((counts >= 0) & np.isfinite(counts))))
        raise ValueError(
            f"A sampler has a count of {counts[row]} for id {row}; counts are "
            "0 or more."
        )
    items = counts.copy()
    items[:first_id] = 0
    shares = np.where(items > 0, items, 1.0) ** alpha * (items > 0)
    if not shares.sum():
        raise ValueError("A sampler has a count of 0 for all items: none can be drawn.")
    return shares / shares.sum()


def filled_with(values):
    """An initializer of a weight that holds these values."""
    return lambda shape, dtype=None: ops.convert_to_tensor(values, dtype)
