import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import numbers, whole_number
from keras_t4r.layers.fresh_initializer import fresh


@keras.saving.register_keras_serializable(package="keras_t4r")
class Buckets(keras.layers.Layer):
    """A number by the bucket that it falls into: `e(x) = T[#{i : b_i <= x}]`.

    Args:
        boundaries: list of numbers `b_1 < b_2 < …`, which end one bucket and begin the
            next.
        dim: int. Width of a row.
        embeddings_initializer: initializer of the table, a row a bucket.

    Call arguments:
        x: number tensor, of any shape.

    Returns:
        A tensor of that shape and one axis more, `dim` wide.

    Raises:
        TypeError: the boundaries are no list of numbers.
        ValueError: there are none, or they do not rise.

    Example:

    ```python
    columns = {"price": Buckets([1, 10, 100], dim=8)}
    ```
    """

    def __init__(self, boundaries, dim=8, embeddings_initializer=None, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        if not hasattr(boundaries, "__len__"):
            raise TypeError(
                f"boundaries is {boundaries!r}; it should be a list of numbers."
            )
        self.boundaries = list(numbers("boundaries", boundaries, len(boundaries)))
        if not self.boundaries or (np.diff(self.boundaries) <= 0).any():
            raise ValueError(
                f"boundaries is {self.boundaries}; it should be numbers that rise."
            )
        self.dim = whole_number("dim", dim)
        if embeddings_initializer is None:
            embeddings_initializer = keras.initializers.RandomNormal(stddev=0.05)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, x_shape):
        self.table = self.add_weight(
            name="table",
            shape=(len(self.boundaries) + 1, self.dim),
            initializer=fresh(self.embeddings_initializer),
            autocast=False,
        )

    def call(self, x):
        x = ops.expand_dims(ops.cast(x, "float32"), -1)
        passed = ops.greater_equal(x, ops.convert_to_tensor(self.boundaries, "float32"))
        bucket = ops.sum(ops.cast(passed, "int32"), axis=-1)
        rows = ops.take(ops.convert_to_tensor(self.table), bucket, axis=0)
        return ops.cast(rows, self.compute_dtype)

    def compute_output_spec(self, x):
        return keras.KerasTensor((*x.shape, self.dim), dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "boundaries": list(self.boundaries),
            "dim": self.dim,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
