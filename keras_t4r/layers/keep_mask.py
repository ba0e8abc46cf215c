import keras

from keras_t4r.layers.attach_mask import AttachMask


@keras.saving.register_keras_serializable(package="keras_t4r")
class KeepMask(keras.layers.Layer):
    """Gives a tensor the mask of the one that it was computed from.

    Keras drops masks in `x + y`, in other operations and in layers without
    `supports_masking`. A body behind those would take padding for events. A
    `SessionModel` mends sums, products and activations by itself; behind a layer of
    your own, or in a nested `keras.Model`, put this one.

    Call arguments:
        x: tensor `(batch, time, …)`, with a mask.
        y: tensor `(batch, time, …)`, computed event by event from `x`.

    Returns:
        `y`, with the mask of `x`.

    Example:

    ```python
    y = KeepMask()(x, MyLayer()(x))
    ```
    """

    def __init__(self, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.supports_masking = True
        self._attach_mask = AttachMask(dtype=self.dtype_policy)
        self.built = True

    def call(self, x, y, x_mask=None):
        return y if x_mask is None else self._attach_mask((y, x_mask))

    def compute_output_spec(self, x, y, x_mask=None):
        return keras.KerasTensor(y.shape, dtype=y.dtype)
