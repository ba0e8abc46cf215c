import math

import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import truth, whole_number
from keras_t4r.backend import as_table, take_rows
from keras_t4r.layers.features.columns.column_table import ColumnTable
from keras_t4r.layers.features.columns.id_embedding import zero_padding_row
from keras_t4r.layers.fresh_initializer import fresh

# Of an int32.
_BYTES = 4


@keras.saving.register_keras_serializable(package="keras_t4r")
class HashedEmbedding(ColumnTable):
    """Ids in a table of fewer rows than there are ids: each is a sum of some of them.

    `e(i) = sum over k of p_k(i) T[h_k(i)]`, and `e(0) = 0`, with `h_1, …, h_n` hash
    functions into the rows of `T`. Two ids have one vector only where all their hashes
    meet: of `n` functions into `B` rows that is once in `B ** n / n!` pairs, about. The
    importance `p` is 1, or learnt, `n` numbers an id.

    The functions are simple tabulation: by a seed each byte of the id has a random
    number, and the row is their exclusive or, modulo `B`. They are the same on all
    backends and machines. Row 0 of `T` is the padding's, zero and never trained.

    A look-up reads the rows of its ids alone, and with an optimizer of
    `keras_t4r.optimizers` a step trains no others. For the item column heads
    score with all ids' vectors, which are computed whole in each step and for each
    request, `cardinality · dim` numbers and their gradient, whatever the loss: it saves
    the memory of weights and moments, and no time. It is for the other columns above
    all: users, pages, queries.

    Args:
        cardinality: int. The column's: the highest id plus one.
        buckets: int. Rows of `T`, the padding's apart.
        dim: int. Width of a row.
        hashes: int. Number of hash functions.
        importance: bool. Whether `p` is learnt: a table of `(cardinality, hashes)`.
        seed: int. What the hash functions are drawn by.
        embeddings_initializer: initializer of `T`.

    Call arguments:
        ids: int tensor, of any shape.

    Returns:
        A tensor of that shape and one axis more, `dim` wide.

    Raises:
        TypeError, ValueError: an argument is no number, or out of its range.

    Example:

    ```python
    users = HashedEmbedding(schema["user"].cardinality, buckets=100_000, dim=32)
    features = SequenceEmbeddingFeatures(schema, columns={"user": users})
    ```

    References:
    - Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
    - Svenstrup et al., Hash Embeddings for Efficient Word Representations, NeurIPS 2017
      (several functions, learnt importance).
    - Pătraşcu and Thorup, The Power of Simple Tabulation Hashing, JACM 2012.
    """

    def __init__(
        self,
        cardinality,
        buckets,
        dim=64,
        hashes=2,
        importance=False,
        seed=0,
        embeddings_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # Passed arguments.
        self.cardinality = whole_number("cardinality", cardinality)
        self.buckets = whole_number("buckets", buckets, most=2**30)
        self._dim = whole_number("dim", dim)
        self.hashes = whole_number("hashes", hashes)
        self.importance = truth("importance", importance)
        self.seed = whole_number("seed", seed, least=0, most=2**32 - 1)
        if embeddings_initializer is None:
            # So that a sum begins as a row of any other table does.
            embeddings_initializer = keras.initializers.RandomNormal(
                stddev=0.05 / math.sqrt(self.hashes)
            )
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

        # Other arguments. What NumPy draws by `RandomState` is the same for ever.
        draw = np.random.RandomState(self.seed).randint
        drawn = draw(0, 2**31, (_BYTES, 256, self.hashes), dtype="int64")
        self._of_bytes = drawn.astype("int32")

    @property
    def rows(self):
        return self.cardinality

    @property
    def dim(self):
        return self._dim

    def build(self, ids_shape=None):
        self.embeddings = self.add_table(
            "embeddings",
            self.buckets + 1,
            self.dim,
            zero_padding_row(fresh(self.embeddings_initializer)),
        )
        if self.importance:
            self.importances = self.add_table(
                "importances", self.cardinality, self.hashes, "ones"
            )

    def buckets_of(self, ids):
        """Which rows of the table ids are made of.

        Args:
            ids: int tensor, of any shape.

        Returns:
            An int32 tensor of that shape and one axis more, `hashes` wide: 0 for id 0,
            and else from 1 on.
        """
        ids = ops.cast(ids, "int32")
        drawn = ops.convert_to_tensor(self._of_bytes, "int32")
        found = None
        for place in range(_BYTES):
            byte = ops.bitwise_and(ops.right_shift(ids, 8 * place), 255)
            part = ops.take(drawn[place], byte, axis=0)
            found = part if found is None else ops.bitwise_xor(found, part)
        real = ops.cast(ops.expand_dims(ops.not_equal(ids, 0), -1), "int32")
        return (ops.mod(found, self.buckets) + 1) * real

    def table(self, training=None):
        return self._of(ops.arange(self.rows, dtype="int32"))

    def call(self, ids, training=None):
        # Only what is asked for.
        return self.vectors_of(self._of(ids), ids)

    def _of(self, ids):
        table, at = as_table(self.embeddings), self.buckets_of(ids)
        if self.importance:
            importance = take_rows(as_table(self.importances), ids)
        total = 0.0
        for k in range(self.hashes):
            rows = take_rows(table, at[..., k])
            if self.importance:
                rows = rows * importance[..., k : k + 1]
            total = total + rows
        return total

    def get_config(self):
        return {
            **super().get_config(),
            "cardinality": self.cardinality,
            "buckets": self.buckets,
            "dim": self.dim,
            "hashes": self.hashes,
            "importance": self.importance,
            "seed": self.seed,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
