"""Products of every two features."""

import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import one_of, truth
from keras_t4r.layers.draw_one_by_one import draw_one_by_one
from keras_t4r.layers.fresh_initializer import fresh

KERNELS = (None, "all", "each", "pair")


@keras.saving.register_keras_serializable(package="keras_t4r")
class DotInteraction(keras.layers.Layer):
    """The dot product of every two features, `v_i · v_j` for `i < j`.

    The pairs come row by row of the upper triangle: (1, 2), (1, 3), …, (2, 3), …. With
    `bilinear` they are FiBiNET's, `(v_i W) · v_j`, where `W` is one kernel for
    `"all"`, one for `"each"` feature `i`, or one for each `"pair"`.

    It is the interaction of DLRM. In Transformers4Rec it is `DotProductInteraction`,
    and `bilinear` its `interaction_type`: `"field_all"`, `"field_each"`,
    `"field_interaction"`.

    Args:
        self_interaction: bool. Whether `v_i · v_i` is among them.
        bilinear: string, one of the above, or `None`.
        kernel_initializer: of `W`.

    Call arguments:
        x: tensor `(batch, n, dim)` or `(batch, time, n, dim)`: `n` features of one
            width, as `ContextFeatures(aggregation="stack")` gives them.

    Returns:
        A tensor `(batch, …, n (n - 1) / 2)`, or `n (n + 1) / 2` with
        `self_interaction`; with the mask of `x`.

    Raises:
        ValueError: there is no such kernel; or `x` has not two axes beside the batch,
            or one feature only and nothing to pair it with.

    Example:

    >>> stacked = keras.ops.stack([user, item, numbers], axis=1)    # (batch, 3, 16)
    >>> dots = keras_t4r.DotInteraction()(stacked)                  # (batch, 3)

    References:
    - Naumov et al., Deep Learning Recommendation Model, 2019.
    - Huang et al., FiBiNET, RecSys 2019 (`bilinear`).
    """

    def __init__(
        self,
        self_interaction=False,
        bilinear=None,
        kernel_initializer="glorot_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        one_of("bilinear", bilinear, KERNELS)
        # Passed arguments.
        self.self_interaction = truth("self_interaction", self_interaction)
        self.bilinear = bilinear
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape):
        n, dim = self._sizes(x_shape)
        if self.bilinear is None:
            return
        pairs = len(self._pairs(n)[0])
        lead = {"all": (), "each": (n,), "pair": (pairs,)}[self.bilinear]
        initializer = fresh(self.kernel_initializer)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*lead, dim, dim),
            initializer=draw_one_by_one(initializer) if lead else initializer,
        )

    def _sizes(self, shape):
        if len(shape) < 3 or None in shape[-2:]:
            raise ValueError(
                "DotInteraction takes (batch, n, dim), n features of a known width; "
                f"the input of {self.name!r} has the shape {tuple(shape)}."
            )
        if shape[-2] < 2 and not self.self_interaction:
            raise ValueError(
                f"The input of {self.name!r}, {tuple(shape)}, has one feature, which "
                "makes no pair: give it more, or self_interaction=True."
            )
        return shape[-2:]

    def _pairs(self, n):
        return np.triu_indices(n, k=0 if self.self_interaction else 1)

    def call(self, x):
        n = x.shape[-2]
        first, second = self._pairs(n)
        left = x
        if self.bilinear == "pair":
            left = ops.take(x, first, axis=-2)
        if self.bilinear == "all":
            left = ops.matmul(left, self.kernel)
        elif self.bilinear is not None:
            # A row of features times the kernel of that feature.
            left = ops.squeeze(
                ops.matmul(ops.expand_dims(left, -2), self.kernel), axis=-2
            )
        if self.bilinear == "pair":
            return ops.sum(left * ops.take(x, second, axis=-2), axis=-1)
        dots = ops.matmul(left, ops.swapaxes(x, -1, -2))
        dots = ops.reshape(dots, (*ops.shape(x)[:-2], n * n))
        return ops.take(dots, first * n + second, axis=-1)

    def compute_output_shape(self, x_shape):
        n, _ = self._sizes(x_shape)
        return (*x_shape[:-2], len(self._pairs(n)[0]))

    def get_config(self):
        return {
            **super().get_config(),
            "self_interaction": self.self_interaction,
            "bilinear": self.bilinear,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
