import keras

from keras_t4r.layers.attach_mask import AttachMask


@keras.saving.register_keras_serializable(package="keras_t4r")
class DropContextToken(keras.layers.Layer):
    """Takes the position of a `ContextToken` away again: `[x_0; x_1; …] → [x_1; …]`.

    It stands behind the body; what follows has the places of the scheme's targets.
    What the body made of the context itself is `x[:, 0]` before it.

    Call arguments:
        x: tensor `(batch, time + 1, width)`.

    Returns:
        A tensor `(batch, time, width)`, with the rest of the mask.

    Raises:
        ValueError: `x` has no axis of time.

    Example:

    ```python
    x = TransformerBlock(config)(ContextToken()(x, context))
    scores = NextItemHead()(DropContextToken()(x), targets, table)
    ```
    """

    def __init__(self, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.supports_masking = True
        self._attach_mask = AttachMask(dtype=self.dtype_policy)

    def build(self, x_shape):
        if len(x_shape) != 3:
            raise ValueError(
                "DropContextToken takes (batch, time, width), as ContextToken gave it; "
                f"the input of {self.name!r} has the shape {tuple(x_shape)}."
            )

    def call(self, x, mask=None):
        y = x[:, 1:]
        return y if mask is None else self._attach_mask((y, mask[:, 1:]))

    def compute_mask(self, inputs, previous_mask=None):
        if previous_mask is None or not keras.utils.is_keras_tensor(inputs):
            return None
        return previous_mask[:, 1:]

    def compute_output_spec(self, x, mask=None):
        batch, time, width = x.shape
        time = None if time is None else time - 1
        return keras.KerasTensor((batch, time, width), dtype=x.dtype)
