"""The context as the first position of a sequence, and the way back."""

import keras
from keras import ops

from keras_t4r.layers.attach_mask import AttachMask
from keras_t4r.quantization import KeepsQuantization


@keras.saving.register_keras_serializable(package="keras_t4r")
class ContextToken(KeepsQuantization, keras.layers.Layer):
    """Puts what is known of a session before its events: `[W c + b; x_1; …; x_T]`.

    To the body the context is the oldest event: every later one may attend to it, in
    causal bodies too, and itself it sees no event there. It stands between scheme and
    body. Behind the body `DropContextToken` takes the position away again, so that
    head, targets and outputs stand at the places that the scheme gave them; a
    `SessionModel` refuses a head that comes without.

    A body with learned positions, as BERT or SASRec, needs room for one more.

    Call arguments:
        x: tensor `(batch, time, width)`, behind the scheme.
        context: tensor `(batch, n)`, as of `ContextFeatures`.
        visible: bool `(batch, time, time)`, as of `PermutationLanguageModeling`. All
            positions see the context, which sees itself only.
        times: `(batch, time)`, when each event happened, for bodies that read times.
            The context gets that of the first event.

    Returns:
        A tensor `(batch, time + 1, width)`, with a mask that is True at the context;
        and after it `visible` and `times`, as far as they were given, grown alike.

    Raises:
        ValueError: events or context are of other axes.

    Example:

    ```python
    x, targets = MaskedLanguageModeling()(x, inputs[schema.item_id])
    x = TransformerBlock(config)(ContextToken()(x, context))
    scores = NextItemHead()(DropContextToken()(x), targets, table)
    ```

    References:
    - Zhai et al., Actions Speak Louder than Words, ICML 2024 (features of the user in
      the sequence itself).
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self._attach_mask = AttachMask(dtype=self.dtype_policy)

    def build(self, x_shape, context_shape, visible_shape=None, times_shape=None):
        if len(x_shape) != 3 or len(context_shape) != 2:
            raise ValueError(
                "ContextToken takes events (batch, time, width) and one context a "
                f"session, (batch, n); {self.name!r} was given {tuple(x_shape)} and "
                f"{tuple(context_shape)}."
            )
        self._projection = keras.layers.Dense(
            x_shape[-1], dtype=self.dtype_policy, name="projection"
        )
        self._projection.build(context_shape)

    def call(self, x, context, visible=None, times=None, x_mask=None):
        token = ops.expand_dims(self._projection(context), 1)
        y = ops.concatenate([ops.cast(token, x.dtype), x], axis=1)
        if x_mask is not None:
            y = self._attach_mask((y, _with_first(x_mask)))
        more = []
        if visible is not None:
            # A column that all see, then a row that sees nothing else.
            rows = ops.concatenate([ops.ones_like(visible[:, :, :1]), visible], axis=2)
            own = ops.zeros_like(rows[:, :1, 1:])
            own = ops.concatenate([ops.ones_like(rows[:, :1, :1]), own], axis=2)
            more.append(ops.concatenate([own, rows], axis=1))
        if times is not None:
            more.append(ops.concatenate([times[:, :1], times], axis=1))
        return (y, *more) if more else y

    def compute_mask(self, inputs, previous_mask=None):
        # Beside values it was attached in `call`; while a graph is made it has to be a
        # tensor of that graph.
        if previous_mask is None or not keras.utils.is_keras_tensor(inputs):
            return None
        return [_with_first(previous_mask)]

    def compute_output_spec(self, x, context, visible=None, times=None, x_mask=None):
        batch, time, width = x.shape
        time = None if time is None else time + 1
        specs = [keras.KerasTensor((batch, time, width), dtype=self.compute_dtype)]
        if visible is not None:
            specs.append(keras.KerasTensor((batch, time, time), dtype=visible.dtype))
        if times is not None:
            specs.append(keras.KerasTensor((batch, time), dtype=times.dtype))
        return tuple(specs) if len(specs) > 1 else specs[0]


def _with_first(mask):
    return ops.concatenate([ops.ones_like(mask[:, :1]), mask], axis=1)
