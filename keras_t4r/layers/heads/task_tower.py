"""The dense layers that a task has to itself, before its output."""

import keras

from keras_t4r.arguments import drawing_seed, rate, truth
from keras_t4r.layers.fresh_initializer import fresh
from keras_t4r.layers.heads.layer_widths import as_widths
from keras_t4r.quantization import KeepsQuantization


@keras.saving.register_keras_serializable(package="keras_t4r")
class TaskTower(KeepsQuantization, keras.layers.Layer):
    """Dense layers one after the other: `x ← dropout(f(x W + b))`.

    It stands between what the tasks share and the output of one of them. In
    Transformers4Rec it is the `task_block` of a task, an `MLPBlock`.

    Args:
        units: int, or a tuple of ints. Width of each dense layer.
        activation: `f`, as of `keras.layers.Dense`; after each of them.
        dropout: float in [0, 1). Rate of dropout after each of them.
        use_bias: bool. Whether there is a `b`.
        kernel_initializer: as of `keras.layers.Dense`.
        kernel_regularizer: as of `keras.layers.Dense`.
        seed: int. Seed of the dropout.

    Call arguments:
        x: tensor `(batch, …, width)`.
        training: bool. Whether dropout is active.

    Returns:
        A tensor `(batch, …, units[-1])`, with the mask of `x`.

    Raises:
        TypeError: `units` or `seed` holds no whole number, `dropout` is no number.
        ValueError: `units` is below 1 or empty, or `dropout` not in [0, 1).

    Example:

    >>> tower = keras_t4r.TaskTower((64, 32), dropout=0.1)
    >>> bought = keras.layers.Dense(1, "sigmoid", name="bought")(tower(x))
    """

    def __init__(
        self,
        units,
        activation="relu",
        dropout=0.0,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # Passed arguments.
        self.units = as_widths(units, "TaskTower")
        self.activation = keras.activations.get(activation)
        self.dropout = rate("dropout", dropout)
        self.use_bias = truth("use_bias", use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.seed = drawing_seed(seed)

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape):
        self.layers = []
        for depth, units in enumerate(self.units):
            dense = keras.layers.Dense(
                units,
                activation=self.activation,
                use_bias=self.use_bias,
                kernel_initializer=fresh(self.kernel_initializer),
                kernel_regularizer=self.kernel_regularizer,
                dtype=self.dtype_policy,
                name=f"dense_{depth}",
            )
            seed = None if self.seed is None else self.seed + depth
            dropout = keras.layers.Dropout(
                self.dropout,
                seed=seed,
                dtype=self.dtype_policy,
                name=f"dropout_{depth}",
            )
            dense.build(x_shape)
            x_shape = dense.compute_output_shape(x_shape)
            self.layers += [dense, dropout]

    def call(self, x, training=None):
        for dense, dropout in zip(self.layers[::2], self.layers[1::2], strict=True):
            x = dropout(dense(x), training=training)
        return x

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.units[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "seed": self.seed,
        }
