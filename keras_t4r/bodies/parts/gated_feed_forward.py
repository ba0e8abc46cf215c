"""The position-wise part of a transformer block, with a gate."""

import keras
from keras import ops

from keras_t4r.bodies.parts.activations import activation_function
from keras_t4r.bodies.parts.dense import Dense


def gated_width(d_model):
    """Inner width whose three products are as many parameters as two of `4 · d_model`.

    `8 / 3 · d_model`, rounded to a multiple of 8.
    """
    return 8 * max(1, round(d_model / 3))


class GatedFeedForward(keras.layers.Layer):
    """`W₃ · (f(W₁ x) ⊙ W₂ x)`, at each position by itself.

    Called SwiGLU where `f` is "silu", GeGLU where it is "gelu". `W₁` and `W₂` are
    one matrix product.

    Args:
        d_model: int. Width of the input and of the output.
        d_inner: int. Width between the products.
        activation: string. Hugging Face's name of `f`.
        use_bias: bool. Whether each product adds a bias.
        inner_dropout: float. Rate before `W₃`.
        stddev: float. Standard deviation of the initial kernels.
        output_stddev: float. The same for `W₃`; `None`: `stddev`.

    References:
        [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202)
    """

    def __init__(
        self,
        d_model,
        d_inner,
        activation="silu",
        use_bias=False,
        inner_dropout=0.0,
        stddev=0.02,
        output_stddev=None,
        **kwargs,
    ):
        super().__init__(**kwargs)

        def dense(units, std, name):
            return Dense(
                units,
                use_bias=use_bias,
                kernel_initializer=keras.initializers.RandomNormal(stddev=std),
                dtype=self.dtype_policy,
                name=name,
            )

        self.inner = dense(2 * d_inner, stddev, "inner")
        self.activation = activation_function(activation)
        self.dropout = keras.layers.Dropout(inner_dropout, dtype=self.dtype_policy)
        self.outer = dense(d_model, output_stddev or stddev, "outer")
        self.d_inner = d_inner

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], self.d_inner))

    def call(self, x, training=None):
        x, factor = ops.split(self.inner(x), 2, axis=-1)
        x = self.activation(x) * factor
        return self.outer(self.dropout(x, training=training))

    def compute_output_shape(self, input_shape):
        return input_shape
