"""Products of features up to a degree, by few weights."""

import keras

from keras_t4r.arguments import optional, whole_number
from keras_t4r.layers.fresh_initializer import fresh
from keras_t4r.quantization import KeepsQuantization


@keras.saving.register_keras_serializable(package="keras_t4r")
class CrossNetwork(KeepsQuantization, keras.layers.Layer):
    """Crosses of the input with itself, of a degree that grows by one a layer:

    `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l`

    With a `rank`, `W_l = U_l V_l`, `V_l` from the width to `rank` and `U_l` back.

    Args:
        num_layers: int. How many crosses.
        rank: int. `None` for whole matrices. A quarter of the width is a start.
        kernel_initializer: of each `W`, or `U` and `V`.
        kernel_regularizer: of the same.

    Call arguments:
        x: tensor `(batch, …, width)`.

    Returns:
        A tensor of the shape of `x`, with its mask.

    Raises:
        TypeError: `num_layers` or `rank` is no whole number.
        ValueError: it is below 1.

    Example:

    >>> crossed = keras_t4r.CrossNetwork(2, rank=16)(context)
    >>> deep = keras_t4r.TaskTower((64, 32))(context)
    >>> context = keras.ops.concatenate([crossed, deep], axis=-1)

    References:
    - Wang et al., DCN V2: Improved Deep & Cross Network, WWW 2021.
    """

    def __init__(
        self,
        num_layers=2,
        rank=None,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # Passed arguments.
        self.num_layers = whole_number("num_layers", num_layers)
        self.rank = optional(whole_number, "rank", rank)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape):
        self.down, self.crosses = [], []
        for depth in range(self.num_layers):
            shape = x_shape
            if self.rank is not None:
                down = self._dense(self.rank, False, f"down_{depth}")
                down.build(shape)
                self.down.append(down)
                shape = (*x_shape[:-1], self.rank)
            cross = self._dense(x_shape[-1], True, f"cross_{depth}")
            cross.build(shape)
            self.crosses.append(cross)

    def _dense(self, units, use_bias, name):
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=fresh(self.kernel_initializer),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, x):
        y = x
        for depth, cross in enumerate(self.crosses):
            inner = self.down[depth](y) if self.down else y
            y = x * cross(inner) + y
        return y

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "rank": self.rank,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
