"""Outer products of features, compressed to a few."""

import keras
from keras import ops

from keras_t4r.arguments import whole_number
from keras_t4r.layers.fresh_initializer import fresh


@keras.saving.register_keras_serializable(package="keras_t4r")
class CompressedInteraction(keras.layers.Layer):
    """One layer of a Compressed Interaction Network, CIN:

    `y_k = Σ_i Σ_j W_kij (x_i ⊙ z_j)`

    with `x` the features that the layer before gave and `z` those of the input. The
    products are taken place by place of the vectors, so that a feature stays a vector.
    In Transformers4Rec it is `XDeepFmOuterProduct(dim)`, called with a list.

    Args:
        units: int. How many features come out.
        kernel_initializer: of `W`.

    Call arguments:
        x: tensor `(batch, …, h, dim)`.
        z: tensor `(batch, …, m, dim)`; `x` itself in the first layer.

    Returns:
        A tensor `(batch, …, units, dim)`, with the mask of `x`.

    Raises:
        TypeError: `units` is no whole number.
        ValueError: it is below 1, or the inputs differ in an axis other than the last
            but one.

    Example:

    ```python
    first = CompressedInteraction(32)(z, z)                    # (batch, 32, dim)
    second = CompressedInteraction(32)(first, z)
    cin = ops.concatenate([ops.sum(first, -1), ops.sum(second, -1)], axis=-1)
    ```

    References:
    - Lian et al., xDeepFM, KDD 2018.
    """

    def __init__(self, units, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        # Passed arguments.
        self.units = whole_number("units", units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape, z_shape):
        self._check(x_shape, z_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.units, x_shape[-2] * z_shape[-2]),
            initializer=fresh(self.kernel_initializer),
        )

    def _check(self, x_shape, z_shape):
        x_shape, z_shape = tuple(x_shape), tuple(z_shape)
        fits = len(x_shape) == len(z_shape) >= 3
        if not fits or x_shape[-1] != z_shape[-1]:
            raise ValueError(
                "CompressedInteraction takes two tensors of features, (batch, h, dim) "
                f"and (batch, m, dim); {self.name!r} was given {x_shape} and {z_shape}."
            )

    def call(self, x, z):
        h, m = x.shape[-2], z.shape[-2]
        products = ops.expand_dims(x, -2) * ops.expand_dims(z, -3)
        shape = (*ops.shape(x)[:-2], h * m, x.shape[-1])
        return ops.matmul(self.kernel, ops.reshape(products, shape))

    def compute_output_shape(self, x_shape, z_shape):
        self._check(x_shape, z_shape)
        return (*x_shape[:-2], self.units, x_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
