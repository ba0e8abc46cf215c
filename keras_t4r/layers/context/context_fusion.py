"""What is known of a session, or of an event, joined with the vectors of events."""

import keras
from keras import ops

from keras_t4r.arguments import one_of
from keras_t4r.layers.fresh_initializer import fresh
from keras_t4r.quantization import KeepsQuantization

MODES = ("latent-cross", "sum", "concat")


@keras.saving.register_keras_serializable(package="keras_t4r")
class ContextFusion(KeepsQuantization, keras.layers.Layer):
    """Joins events with their context:

    - `"latent-cross"`: `x ⊙ (1 + W c)`: context says which places of the vector count;
    - `"sum"`: `x + W c`;
    - `"concat"`: `[x; c]`.

    `W` has no bias, so that a context of zeros, of which nothing is known, changes
    nothing in the first two.

    The context is one vector a session, as of `ContextFeatures`, or one an event. It
    may stand before a body or behind it (Latent Cross stands there, on the hidden
    states). One vector an event belongs before the scheme, unless the scheme is
    `CausalLanguageModeling`: a scheme that hides events would leave their contexts
    in sight. A `SessionModel` refuses it elsewhere.

    In Transformers4Rec it is `PostContextFusion`.

    Args:
        mode: string. One of the above.
        kernel_initializer: of `W`; `None` for a normal distribution of 0.05 around
            zero, with which Latent Cross starts near the identity.

    Call arguments:
        x: tensor `(batch, time, width)`, or `(batch, width)`.
        context: tensor `(batch, n)`, or of the axes of `x`: `(batch, time, n)`.

    Returns:
        A tensor of the shape of `x`, `n` wider for `"concat"`, with its mask; zeros
        where that says padding.

    Raises:
        ValueError: the mode is unknown; `"concat"`, which learns nothing, was given an
            initializer; or the shapes do not go together.

    Example:

    ```python
    context = ContextFeatures(schema, ["country"], embedding_dim=8)(inputs)
    x = ContextFusion("latent-cross")(block(x), context)
    ```

    References:
    - Beutel et al., Latent Cross: Making Use of Context in Recurrent Recommender
      Systems, WSDM 2018.
    """

    def __init__(self, mode="latent-cross", kernel_initializer=None, **kwargs):
        super().__init__(**kwargs)
        one_of("mode", mode, MODES)
        if mode == "concat" and kernel_initializer is not None:
            raise ValueError(
                'ContextFusion("concat") learns nothing: leave kernel_initializer out.'
            )
        # Passed arguments.
        self.mode = mode
        self.kernel_initializer = (
            None
            if kernel_initializer is None
            else keras.initializers.get(kernel_initializer)
        )

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape, context_shape):
        self._check(x_shape, context_shape)
        self._projection = None
        if self.mode != "concat":
            initializer = self.kernel_initializer or keras.initializers.RandomNormal(
                stddev=0.05
            )
            self._projection = keras.layers.Dense(
                x_shape[-1],
                use_bias=False,
                kernel_initializer=fresh(initializer),
                dtype=self.dtype_policy,
                name="projection",
            )
            self._projection.build(context_shape)

    def call(self, x, context, x_mask=None):
        self._check(x.shape, context.shape)
        if x_mask is not None and len(context.shape) == len(x.shape):
            # It may hold what is no number, of which a gradient of 0 is none either.
            real = ops.expand_dims(x_mask, -1)
            context = ops.where(real, context, ops.zeros_like(context))
        c = context if self._projection is None else self._projection(context)
        if len(c.shape) < len(x.shape):
            c = ops.expand_dims(c, 1)
        if self.mode == "latent-cross":
            y = x * (1 + c)
        elif self.mode == "sum":
            y = x + c
        else:
            shape = (*ops.shape(x)[:-1], c.shape[-1])
            y = ops.concatenate([x, ops.broadcast_to(c, shape)], axis=-1)
        if x_mask is None:
            return y
        return ops.where(ops.expand_dims(x_mask, -1), y, ops.zeros_like(y))

    def _check(self, x_shape, context_shape):
        x_shape, context_shape = tuple(x_shape), tuple(context_shape)
        fits = len(x_shape) in (2, 3) and len(context_shape) in (2, len(x_shape))
        if fits and len(context_shape) == 3:
            fits = len({x_shape[1], context_shape[1]} - {None}) < 2
        if not fits:
            raise ValueError(
                f"ContextFusion takes events (batch, time, width) and their context, "
                f"(batch, n) or (batch, time, n); {self.name!r} was given {x_shape} "
                f"and {context_shape}."
            )

    def compute_output_shape(self, x_shape, context_shape):
        more = context_shape[-1] if self.mode == "concat" else 0
        return (*x_shape[:-1], x_shape[-1] + more)

    def compute_output_spec(self, x, context, x_mask=None):
        self._check(x.shape, context.shape)
        shape = self.compute_output_shape(x.shape, context.shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        initializer = self.kernel_initializer
        return {
            **super().get_config(),
            "mode": self.mode,
            "kernel_initializer": initializer
            and keras.initializers.serialize(initializer),
        }
