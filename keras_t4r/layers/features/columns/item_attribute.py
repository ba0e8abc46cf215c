import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import LARGEST_INT, one_of, whole_number
from keras_t4r.arrays import as_array
from keras_t4r.backend import as_table, take_rows
from keras_t4r.layers.features.bags import COMBINERS, combine
from keras_t4r.layers.features.columns.array_table import ArrayTable
from keras_t4r.layers.features.columns.id_embedding import zero_padding_row
from keras_t4r.layers.fresh_initializer import fresh


@keras.saving.register_keras_serializable(package="keras_t4r")
class ItemAttribute(ArrayTable):
    """An item by what it is: its brand, its category, its genres.

    `e(i) = combine(T[a] for a in A[i])`, with `A` given, and the table `T` of
    attributes learnt. All items with an attribute teach its row.

    Args:
        attributes: int array `(items,)`, or `(items, most)` for bags: the ids of
            attributes by encoded item id, from 1 on; 0 stands for none. Row 0 is the
            padding's.
        dim: int. Width of a row of `T`.
        combiner: `"mean"`, `"sum"` or `"sqrtn"`. How the rows of a bag become one.
        cardinality: int. Rows of `T`. Defaults to the highest id plus one.
        embeddings_initializer: initializer of `T`.

    Call arguments:
        ids: int tensor, of any shape. Encoded item ids.

    Returns:
        A tensor of that shape and one axis more, `dim` wide.

    Raises:
        TypeError: the attributes are no whole numbers.
        ValueError: they are no table, one is below 0, or none is there; or the
            cardinality is too low.

    Example:

    ```python
    content = [ItemAttribute(brands, dim=16), PretrainedEmbedding(images)]
    columns = {"item_id": ItemContent(content, dim=64)}
    ```
    """

    def __init__(
        self,
        attributes,
        dim=16,
        combiner="mean",
        cardinality=None,
        embeddings_initializer=None,
        **kwargs,
    ):
        if not isinstance(attributes, dict):
            attributes = _checked(attributes)
            least = int(attributes.max()) + 1
            cardinality = whole_number(
                "cardinality", least if cardinality is None else cardinality, least
            )
        super().__init__(attributes, **kwargs)
        one_of("combiner", combiner, COMBINERS)
        self.cardinality = cardinality
        self._dim = whole_number("dim", dim)
        self.combiner = combiner
        if embeddings_initializer is None:
            embeddings_initializer = keras.initializers.RandomNormal(stddev=0.05)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    @property
    def dim(self):
        return self._dim

    def build(self, ids_shape=None):
        self.add_given(trainable=False, dtype="int32")
        self.embeddings = self.add_table(
            "embeddings",
            self.cardinality,
            self.dim,
            zero_padding_row(fresh(self.embeddings_initializer)),
        )

    def table(self, training=None):
        return self._of(self.rows_of(self.given))

    def call(self, ids, training=None):
        # Only what is asked for; padding has no attributes.
        attributes = take_rows(ops.convert_to_tensor(self.given), ids)
        return ops.cast(self._of(attributes), self.compute_dtype)

    def _of(self, attributes):
        rows = take_rows(as_table(self.embeddings), attributes)
        real = ops.expand_dims(ops.not_equal(attributes, 0), -1)
        rows = rows * ops.cast(real, rows.dtype)
        return combine(rows, attributes, self.combiner)

    def get_config(self):
        return {
            **super().get_config(),
            "attributes": self.array_config(),
            "dim": self.dim,
            "combiner": self.combiner,
            "cardinality": self.cardinality,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }


def _checked(attributes):
    array = as_array("attributes", attributes)
    if array.dtype.kind not in "iu":
        raise TypeError(f"attributes holds {array.dtype}; it should hold whole ids.")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise ValueError(
            f"attributes has shape {np.shape(attributes)}; it should be (items,) or "
            "(items, most), with a row for each encoded item id, the padding's first."
        )
    low, high = int(array.min()), int(array[1:].max())
    if low < 0 or not 0 < high < LARGEST_INT:
        raise ValueError(
            f"attributes reach from {low} to {high}; they should be ids from 1 on, and "
            "0 for none."
        )
    return array.astype("int32")
