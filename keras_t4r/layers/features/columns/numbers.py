import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_t4r")
class Numbers(keras.layers.Layer):
    """A number as it is, a vector of one: what a column of numbers is encoded by.

    Call arguments:
        x: number tensor, of any shape.

    Returns:
        A tensor of that shape and one axis more, 1 wide, in the compute dtype.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.built = True

    def call(self, x):
        return ops.expand_dims(ops.cast(x, self.compute_dtype), -1)

    def compute_output_spec(self, x):
        return keras.KerasTensor((*x.shape, 1), dtype=self.compute_dtype)
