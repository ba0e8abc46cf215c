import keras


@keras.saving.register_keras_serializable(package="keras_t4r")
class AttachMask(keras.layers.Layer):
    """Hands a mask on with a tensor, as Keras layers do by themselves.

    Keras drops or falsifies masks in many operations. The layers of this
    package therefore compute the mask once, where the ids are known, and
    attach it to what they return.

    Call arguments:
        inputs: pair of tensor `(batch, time, …)` and bool mask
            `(batch, time)`, `True` for real positions.

    Returns:
        The tensor, with the mask attached.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.supports_masking = True
        self.built = True

    def call(self, inputs):
        x, _ = inputs
        return x

    def compute_mask(self, inputs, previous_mask=None):
        return inputs[1]

    def compute_output_shape(self, input_shape):
        return input_shape[0]
