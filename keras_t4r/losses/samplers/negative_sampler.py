import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, truth, whole_number


class NegativeSampler:
    """Base of what draws the negatives of a sampled loss.

    A sampler of one's own is a subclass with `draw` and, for losses that correct what
    they draw, `log_counts`. A `RandomSampler` has a seed, too.
    """

    # Whether each target has draws of its own.
    per_target = False

    def build(self, head, rows, first_id):
        """Learns what there is to draw from; called once, by the head.

        Args:
            head: the layer that the loss is of. Its `add_weight` makes what a sampler
                has to keep.
            rows: int. Rows of the table.
            first_id: int. The lowest id that is an item.
        """
        self.rows = rows
        self.first_id = first_id

    def check(self):
        """Raises `ValueError` where there is nothing to draw from yet.

        A `SessionModel` asks before it trains.
        """

    def draw(self, targets, weights):
        """Items that are no targets, but for accidents.

        Args:
            targets: int tensor `(n,)`.
            weights: float32 tensor `(n,)`; 0 for rows that are no targets.

        Returns:
            Int32 ids below `rows`, `(m,)`, or `(n, m)` for each target its own. An id
            below the first one is no draw.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `draw`.")

    def log_counts(self, ids, weights):
        """Logarithm of how often each id is among the draws, on average.

        Args:
            ids: int tensor of any shape. Items.
            weights: float32 tensor `(n,)`, as in `draw`.

        Returns:
            A float32 tensor of the shape of `ids`. Minus infinity where an id is
            never drawn.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `log_counts`.")

    @property
    def counts_are_known(self):
        """Whether there are `log_counts`."""
        return type(self).log_counts is not NegativeSampler.log_counts

    @property
    def seed_generators(self):
        """The states of what is drawn, for the head to keep."""
        return []

    def get_config(self):
        """The arguments that the sampler was made with, for saving."""
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class RandomSampler(NegativeSampler):
    """A sampler that draws so many items at random, with replacement.

    Args:
        negatives: int. Items drawn.
        per_target: bool. Draw them for each target anew; else once a step, and all
            targets share them, which needs `negatives` rows of the table and not
            `targets * negatives`.
        seed: int. Seed of the draws.

    Raises:
        TypeError, ValueError: `negatives` is no whole number from 1 on.
    """

    def __init__(self, negatives, per_target=False, seed=None):
        self.negatives = whole_number("negatives", negatives)
        self.per_target = truth("per_target", per_target)
        self.seed = drawing_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    @property
    def seed_generators(self):
        return [self.seed_generator]

    def shape(self, targets):
        """That of the draws for so many targets."""
        if self.per_target:
            return (ops.shape(targets)[0], self.negatives)
        return (self.negatives,)

    def get_config(self):
        return {
            "negatives": self.negatives,
            "per_target": self.per_target,
            "seed": self.seed,
        }
