"""Many small networks of one shape, computed together."""

import keras
from keras import ops


class Experts(keras.layers.Layer):
    """Groups of networks of one shape, each with weights of its own.

    `e(x) = f(… f(x W_1 + b_1) … W_d + b_d)`, with dropout after each `f`. All experts
    of a layer are one product.

    Args:
        groups: int. Groups of experts.
        num_experts: int. Experts in a group.
        units: tuple of ints. Width of each layer of an expert.
        activation: function. `f`.
        dropout: float. Rate of dropout.
        kernel_initializer: function of a shape `(n, width, units)` and a dtype.
        kernel_regularizer: regularizer of each `W`, or `None`.
        seed: int. Seed of the dropout.

    Call arguments:
        x: tensor `(rows, width)`, which all experts see, or `(groups, rows, width)`.
        training: bool. Whether dropout is active.

    Returns:
        A tensor `(groups, num_experts, rows, units[-1])`.
    """

    def __init__(
        self,
        groups,
        num_experts,
        units,
        activation,
        dropout,
        kernel_initializer,
        kernel_regularizer,
        seed,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.groups = groups
        self.num_experts = num_experts
        self.units = units
        self.activation = activation
        self.kernel_initializer = kernel_initializer
        self.kernel_regularizer = kernel_regularizer
        self.dropout = keras.layers.Dropout(
            dropout, seed=seed, dtype=self.dtype_policy, name="dropout"
        )

    def build(self, x_shape):
        self.kernels, self.biases = [], []
        count, width = self.groups * self.num_experts, x_shape[-1]
        for depth, units in enumerate(self.units):
            kernel = self.add_weight(
                name=f"kernel_{depth}",
                shape=(count, width, units),
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
            )
            bias = self.add_weight(
                name=f"bias_{depth}", shape=(count, 1, units), initializer="zeros"
            )
            self.kernels.append(kernel)
            self.biases.append(bias)
            width = units

    def call(self, x, training=None):
        equation = "rw,gnwu->gnru" if len(x.shape) == 2 else "grw,gnwu->gnru"
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            x = ops.einsum(equation, x, self._by_group(kernel)) + self._by_group(bias)
            x = self.dropout(self.activation(x), training=training)
            equation = "gnrw,gnwu->gnru"
        return x

    def _by_group(self, weight):
        shape = (self.groups, self.num_experts, *weight.shape[1:])
        return ops.reshape(weight, shape)

    def compute_output_shape(self, x_shape):
        return (self.groups, self.num_experts, x_shape[-2], self.units[-1])
