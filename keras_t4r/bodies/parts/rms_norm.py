"""Normalisation by the root mean square alone."""

import keras
from keras import ops

from keras_t4r import backend


class RMSNorm(keras.layers.Layer):
    """`gamma · x / sqrt(mean(x²) + epsilon)` over the last axis.

    Computed in float32 or wider whatever the dtype policy. It hands on the mask,
    which `keras.layers.RMSNormalization` loses.

    Args:
        epsilon: float. What keeps a vector of zeros finite.

    References:
        [Root Mean Square Layer Normalization](https://arxiv.org/abs/1910.07467)
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.supports_masking = True

    def build(self, input_shape):
        self.gamma = self.add_weight(
            shape=(input_shape[-1],), initializer="ones", name="gamma", autocast=False
        )

    def call(self, x):
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        x = ops.cast(x, dtype)
        if backend.gains_by_written_gradients():
            y = _normalise_few_passes(x, self.epsilon)
        else:
            y = x * _scale(x, self.epsilon)
        return ops.cast(y * ops.cast(self.gamma, dtype), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def _scale(x, epsilon):
    return ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + epsilon)


def _normalise_few_passes(x, epsilon):
    """The same with its closed-form gradient, for the reason of `LayerNorm`'s."""

    @ops.custom_gradient
    def run(x):
        scale = _scale(x, epsilon)
        y = x * scale

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            along = ops.mean(upstream * y, axis=-1, keepdims=True)
            return scale * (upstream - y * along)

        return y, gradient

    return run(x)
