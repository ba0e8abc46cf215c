import keras
from keras import ops

from keras_t4r.arguments import whole_number
from keras_t4r.backend import as_table
from keras_t4r.layers.features.columns.column_table import ColumnTable
from keras_t4r.layers.fresh_initializer import fresh


@keras.saving.register_keras_serializable(package="keras_t4r")
class IdEmbedding(ColumnTable):
    """Ids in a table that is learnt: what a column of ids is encoded by without more.

    `e(id) = T[id]`. Row 0 is zero and is never trained.

    `columns` needs one where a table is to differ from others, as by its dtype: with
    `dtype="bfloat16"` it takes half the memory, and so do the moments of an optimizer
    of `keras_t4r.optimizers`, which rounds such that training goes on as in float32.
    Keras's own optimizers round to what is nearest, and small steps are lost.

    Args:
        cardinality: int. Rows of the table: the highest id plus one.
        dim: int. Width of a row.
        embeddings_initializer: initializer of the table.
        embeddings_regularizer: regularizer of the table. It is of all rows, so that a
            step costs what the table holds.

    Call arguments:
        ids: int tensor, of any shape.

    Returns:
        A tensor of that shape and one axis more, `dim` wide.

    Raises:
        TypeError, ValueError: an argument is no number, or out of its range.

    Example:

    ```python
    items = IdEmbedding(schema["item_id"].cardinality, 64, dtype="bfloat16")
    features = SequenceEmbeddingFeatures(schema, columns={"item_id": items})
    ```
    """

    def __init__(
        self,
        cardinality,
        dim=64,
        embeddings_initializer=None,
        embeddings_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.cardinality = whole_number("cardinality", cardinality)
        self._dim = whole_number("dim", dim)
        if embeddings_initializer is None:
            # Small enough that tied logits start near zero.
            embeddings_initializer = keras.initializers.RandomNormal(stddev=0.05)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)

    @property
    def rows(self):
        return self.cardinality

    @property
    def dim(self):
        return self._dim

    def build(self, ids_shape=None):
        self.embeddings = self.add_table(
            "embeddings",
            self.rows,
            self.dim,
            zero_padding_row(fresh(self.embeddings_initializer)),
            regularizer=self.embeddings_regularizer,
        )

    def table(self, training=None):
        return self.rows_of(self.embeddings)

    def with_table(self, ids, training=None):
        return self.look_up(as_table(self.embeddings), ids), self.table()

    def get_config(self):
        return {
            **super().get_config(),
            "cardinality": self.cardinality,
            "dim": self.dim,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "embeddings_regularizer": keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
        }


def zero_padding_row(initializer):
    """The same initializer with zeros in row 0."""

    def initialize(shape, dtype=None):
        table = initializer(shape, dtype=dtype)
        return ops.concatenate([ops.zeros_like(table[:1]), table[1:]], axis=0)

    return initialize
