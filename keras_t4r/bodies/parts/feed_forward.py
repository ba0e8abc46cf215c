"""The position-wise part of a transformer block."""

import keras

from keras_t4r.bodies.parts.activations import activation_function
from keras_t4r.bodies.parts.dense import Dense


class FeedForward(keras.layers.Layer):
    """`W₂ · f(W₁ x + b₁) + b₂`, at each position by itself.

    Args:
        d_model: int. Width of the input and of the output.
        d_inner: int. Width between the two products.
        activation: string. Hugging Face's name of `f`.
        inner_dropout: float. Rate after `f`.
        stddev: float. Standard deviation of the initial kernels.
        output_stddev: float. The same for `W₂`; `None`: `stddev`.
    """

    def __init__(
        self,
        d_model,
        d_inner,
        activation="gelu",
        inner_dropout=0.0,
        stddev=0.02,
        output_stddev=None,
        **kwargs,
    ):
        super().__init__(**kwargs)

        def dense(units, std, name, activation=None):
            return Dense(
                units,
                activation=activation,
                kernel_initializer=keras.initializers.RandomNormal(stddev=std),
                dtype=self.dtype_policy,
                name=name,
            )

        self.inner = dense(d_inner, stddev, "inner", activation_function(activation))
        self.dropout = keras.layers.Dropout(inner_dropout, dtype=self.dtype_policy)
        self.outer = dense(d_model, output_stddev or stddev, "outer")

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.outer.build(self.inner.compute_output_shape(input_shape))

    def call(self, x, training=None):
        return self.outer(self.dropout(self.inner(x), training=training))

    def compute_output_shape(self, input_shape):
        return input_shape
