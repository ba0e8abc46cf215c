import math

import keras
from keras import ops

from keras_t4r.arguments import one_of, optional, whole_number
from keras_t4r.backend import as_table, take_rows
from keras_t4r.layers.features.columns.column_table import ColumnTable
from keras_t4r.layers.features.columns.id_embedding import zero_padding_row
from keras_t4r.layers.fresh_initializer import fresh

OPERATIONS = {"multiply": ops.multiply, "add": ops.add}
# Standard deviation of what tables begin as, and so of their product and sum here.
_STDDEV = 0.05


@keras.saving.register_keras_serializable(package="keras_t4r")
class QuotientRemainderEmbedding(ColumnTable):
    """Ids in two small tables, whose rows tell each id from all others.

    `e(i) = Q[(i - 1) // m] * R[(i - 1) % m]`, and `e(0) = 0`. No two ids share both
    rows, so that each has a vector of its own, of about `2 sqrt(cardinality)` learnt
    rows. Ids that share one of them are alike from the start: order says something
    then, and ids that are sorted by how often they occur, as the ETL's are, share `Q`
    with ids that are about as frequent.

    Before their first rows both tables have one of zeros, the padding's, which is never
    trained.

    A look-up reads the rows of its ids alone, and with an optimizer of
    `keras_t4r.optimizers` a step trains no others. For the item column heads
    score with all ids' vectors, which are computed whole in each step and for each
    request, `cardinality · dim` numbers and their gradient, whatever the loss: it saves
    the memory of weights and moments, and no time. It is for the other columns above
    all: users, pages, queries.

    Args:
        cardinality: int. The column's: the highest id plus one.
        dim: int. Width of a row.
        modulus: int. `m`, rows of `R`, from 1 to the number of ids. `None` for the
            least whole number that is no less than its root.
        operation: `"multiply"` or `"add"`. What is done to the two rows.
        embeddings_initializer: initializer of `Q` and `R`. By default the vectors begin
            as small as the rows of any other table.

    Call arguments:
        ids: int tensor, of any shape.

    Returns:
        A tensor of that shape and one axis more, `dim` wide.

    Raises:
        TypeError, ValueError: an argument is no number, or out of its range; or there
            is no such operation.

    Example:

    ```python
    users = QuotientRemainderEmbedding(schema["user"].cardinality, dim=32)
    features = SequenceEmbeddingFeatures(schema, columns={"user": users})
    ```

    References:
    - Shi et al., Compositional Embeddings Using Complementary Partitions for
      Memory-Efficient Recommendation Systems, KDD 2020.
    """

    def __init__(
        self,
        cardinality,
        dim=64,
        modulus=None,
        operation="multiply",
        embeddings_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.cardinality = whole_number("cardinality", cardinality, least=2)
        self._dim = whole_number("dim", dim)
        ids = self.cardinality - 1
        self.modulus = optional(whole_number, "modulus", modulus, most=ids)
        one_of("operation", operation, tuple(OPERATIONS))
        self.operation = operation
        if embeddings_initializer is None:
            multiplies = operation == "multiply"
            embeddings_initializer = keras.initializers.RandomNormal(
                stddev=math.sqrt(_STDDEV) if multiplies else _STDDEV / math.sqrt(2)
            )
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self._m = self.modulus or math.isqrt(ids - 1) + 1

    @property
    def rows(self):
        return self.cardinality

    @property
    def dim(self):
        return self._dim

    def build(self, ids_shape=None):
        quotients = -(-(self.cardinality - 1) // self._m)
        self.quotients, self.remainders = (
            self.add_table(
                name,
                count + 1,
                self.dim,
                zero_padding_row(fresh(self.embeddings_initializer)),
            )
            for name, count in (("quotients", quotients), ("remainders", self._m))
        )

    def table(self, training=None):
        # Each row of `R` for each of `Q`; nothing is gathered.
        quotients = ops.expand_dims(self.rows_of(self.quotients)[1:], 1)
        remainders = ops.expand_dims(self.rows_of(self.remainders)[1:], 0)
        table = OPERATIONS[self.operation](quotients, remainders)
        table = ops.reshape(table, (-1, self.dim))[: self.rows - 1]
        return ops.concatenate([ops.zeros_like(table[:1]), table], axis=0)

    def call(self, ids, training=None):
        # Only what is asked for.
        ids = ops.cast(ids, "int32")
        real = ops.cast(ops.not_equal(ids, 0), "int32")
        place = ops.maximum(ids - 1, 0)
        # Padding has the first rows.
        quotient = (ops.floor_divide(place, self._m) + 1) * real
        remainder = (ops.mod(place, self._m) + 1) * real
        rows = OPERATIONS[self.operation](
            take_rows(as_table(self.quotients), quotient),
            take_rows(as_table(self.remainders), remainder),
        )
        return self.vectors_of(rows, ids)

    def get_config(self):
        return {
            **super().get_config(),
            "cardinality": self.cardinality,
            "dim": self.dim,
            "modulus": self.modulus,
            "operation": self.operation,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
