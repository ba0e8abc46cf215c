"""Keras's dense layer, with a leaner gradient on JAX."""

import keras
from keras import ops

from keras_t4r import backend


class Dense(keras.layers.Dense):
    """`activation(x · kernel + bias)` at each position by itself.

    Same weights, same result and same arguments as `keras.layers.Dense`.
    """

    def call(self, inputs, training=None):
        if not backend.gains_by_flat_products():
            return super().call(inputs, training=training)
        flat = ops.reshape(inputs, (-1, inputs.shape[-1]))
        y = super().call(flat, training=training)
        return ops.reshape(y, (*inputs.shape[:-1], self.units))

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras refuses subclasses, which might compute something else.
        super().quantize(mode, type_check=False, config=config)
