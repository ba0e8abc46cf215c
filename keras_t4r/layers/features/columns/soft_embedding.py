import keras
from keras import ops

from keras_t4r.arguments import truth, whole_number


@keras.saving.register_keras_serializable(package="keras_t4r")
class SoftEmbedding(keras.layers.Layer):
    """A number as a mixture of the rows of a small table.

    `e(x) = norm(sum over k of p_k(x) T[k])` with `p(x) = softmax(w x + b)`: the number
    chooses softly among `n` learnt vectors, so that a network can tell low, middling
    and high numbers apart where a product with the number itself only scales. Numbers
    are best standardised before, as the ETL does.

    Args:
        n: int. Rows of the table.
        dim: int. Width of a row.
        layer_norm: bool. Normalise what comes out.

    Call arguments:
        x: number tensor, of any shape.

    Returns:
        A tensor of that shape and one axis more, `dim` wide.

    Raises:
        TypeError, ValueError: `n` or `dim` is no whole number from 1 on; or `dim` is 1
            with `layer_norm`, which would make 0 of any number.

    Example:

    ```python
    SequenceEmbeddingFeatures(schema, columns={"age": SoftEmbedding(n=10, dim=8)})
    ```

    References:
    - de Souza Pereira Moreira et al., Transformers4Rec, RecSys 2021 (soft one-hot
      encoding of numbers).
    """

    def __init__(self, n=10, dim=8, layer_norm=True, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.n = whole_number("n", n)
        self.layer_norm = truth("layer_norm", layer_norm)
        self.dim = whole_number("dim", dim, least=2 if self.layer_norm else 1)

    def build(self, x_shape):
        self.kernel = self._weight("kernel", (self.n,), 1.0)
        self.bias = self._weight("bias", (self.n,), 0.0)
        self.table = self._weight("table", (self.n, self.dim), 0.05)
        self._norm = None
        if self.layer_norm:
            self._norm = keras.layers.LayerNormalization(
                name="norm", dtype=self.dtype_policy
            )
            self._norm.build((*x_shape, self.dim))

    def _weight(self, name, shape, stddev):
        initializer = keras.initializers.RandomNormal(stddev=stddev)
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer if stddev else "zeros",
            autocast=False,
        )

    def call(self, x):
        # In float32 up to here: a number may be beyond what half precision holds.
        x = ops.expand_dims(ops.cast(x, "float32"), -1)
        choice = ops.softmax(x * self.kernel + self.bias)
        x = ops.cast(ops.matmul(choice, self.table), self.compute_dtype)
        return x if self._norm is None else self._norm(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor((*x.shape, self.dim), dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "n": self.n,
            "dim": self.dim,
            "layer_norm": self.layer_norm,
        }
