import os

import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import truth, whole_number
from keras_t4r.arrays import as_array
from keras_t4r.backend import as_table, take_rows
from keras_t4r.files import as_path
from keras_t4r.layers.features.columns.array_table import ArrayTable

_CHUNK = 65_536


@keras.saving.register_keras_serializable(package="keras_t4r")
class PretrainedEmbedding(ArrayTable):
    """Ids in a table of vectors that were learnt elsewhere: from text, images, clicks.

    `e(id) = adaptor(V[id])`, and `e(0) = 0`, with `V` kept as it is, or trained on.

    The vectors are weights: they go into `.keras` files, files of weights and exports,
    and never into a config. A layer that is made from a config finds them in the
    process that gave them; elsewhere they come with the weights, and until then a
    `SessionModel` refuses to be trained and asked.

    For the item column heads score with what the adaptor makes of all vectors. Where
    there are more of them than the device holds, look them up in the loader instead:
    `KerasSequenceLoader(vectors=…)`.

    Args:
        vectors: float array `(rows, width)`, a row an encoded id, row 0 the padding;
            `vectors_by_id` makes it of raw ids. Or the path of a `.npy` file of one.
        train_vectors: bool. Whether `V` is trained on.
        adaptor: `None`, int for a `Dense` of that width, or a layer of one's own, which
            takes `(…, width)`.

    Call arguments:
        ids: int tensor, of any shape.

    Returns:
        A tensor of that shape and one axis more, as wide as what the adaptor makes.

    Raises:
        TypeError: the vectors are no floats, or the adaptor is no layer.
        FileNotFoundError: there is no such file.
        ValueError: the vectors are no table, or a number among them is none.

    Example:

    ```python
    vectors = keras_t4r.vectors_by_id("vectors.parquet", schema, "item_id")
    features = SequenceEmbeddingFeatures(
        schema, columns={"item_id": PretrainedEmbedding(vectors, adaptor=64)}
    )
    ```
    """

    def __init__(self, vectors, train_vectors=False, adaptor=None, **kwargs):
        of_config = isinstance(vectors, dict)
        super().__init__(vectors if of_config else _checked(vectors), **kwargs)
        self.train_vectors = truth("train_vectors", train_vectors)
        if adaptor is not None and not isinstance(adaptor, keras.layers.Layer):
            # In float32, as a table is: it is what heads score with.
            adaptor = keras.layers.Dense(
                whole_number("adaptor", adaptor),
                name="adaptor",
                dtype=self.variable_dtype,
            )
        self.adaptor = adaptor

    @property
    def dim(self):
        if self.adaptor is None:
            return self._shape[1]
        return self.adaptor.compute_output_shape((None, self._shape[1]))[-1]

    def build(self, ids_shape=None):
        self.add_given(trainable=self.train_vectors)
        if self.adaptor is not None and not self.adaptor.built:
            self.adaptor.build((None, self._shape[1]))

    def table(self, training=None):
        return self._adapt(self.rows_of(self.given))

    def with_table(self, ids, training=None):
        if self.adaptor is None:
            return self.look_up(as_table(self.given), ids), self.table()
        return super().with_table(ids, training=training)

    def call(self, ids, training=None):
        # Only what is asked for is adapted.
        return self.vectors_of(self._adapt(take_rows(as_table(self.given), ids)), ids)

    def _adapt(self, rows):
        if self.adaptor is None:
            return rows
        return ops.cast(self.adaptor(rows), self.variable_dtype)

    def get_config(self):
        adaptor = self.adaptor
        if adaptor is not None:
            adaptor = keras.saving.serialize_keras_object(adaptor)
        return {
            **super().get_config(),
            "vectors": self.array_config(),
            "train_vectors": self.train_vectors,
            "adaptor": adaptor,
        }

    @classmethod
    def from_config(cls, config):
        adaptor = config["adaptor"]
        if adaptor is not None:
            adaptor = keras.saving.deserialize_keras_object(adaptor)
        return cls(**{**config, "adaptor": adaptor})


def _checked(vectors):
    """What a caller gave, as a float32 array."""
    if isinstance(vectors, (str, os.PathLike)):
        vectors = as_path(vectors, "vectors")
        if not vectors.is_file():
            raise FileNotFoundError(f"There is no file of vectors at {vectors}.")
        vectors = np.load(vectors, mmap_mode="r", allow_pickle=False)
    array = as_array("vectors", vectors)
    if array.dtype.kind != "f":
        raise TypeError(f"vectors holds {array.dtype}; it should hold floats.")
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise ValueError(
            f"vectors has shape {array.shape}; it should be (rows, width), with a row "
            "for each encoded id, the padding's first."
        )
    array = array.astype("float32", copy=False)
    for start in range(0, len(array), _CHUNK):
        bad = ~np.isfinite(array[start : start + _CHUNK]).all(axis=1)
        if bad.any():
            raise ValueError(
                f"Row {start + int(bad.argmax())} of vectors holds a number that is "
                "none, or infinite: leave the vector out, or make it zeros."
            )
    return array
