import keras
from keras import ops

# The largest number of float16.
_LARGEST_HALF = 65504.0


@keras.saving.register_keras_serializable(package="keras_t4r")
class Numbers(keras.layers.Layer):
    """A number as it is, a vector of one: what a column of numbers is encoded by.

    Numbers should be standardised, as the ETL does it. In float16 those beyond 65,504
    are as large as that, for none is larger there.

    Call arguments:
        x: number tensor, of any shape.

    Returns:
        A tensor of that shape and one axis more, 1 wide, in the compute dtype.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.built = True

    def call(self, x):
        return ops.expand_dims(finite(x, self.compute_dtype), -1)

    def compute_output_spec(self, x):
        return keras.KerasTensor((*x.shape, 1), dtype=self.compute_dtype)


def finite(x, dtype):
    """Numbers in a compute dtype, in which none becomes infinite."""
    return ops.cast(within(x, dtype), dtype)


def within(x, dtype):
    """Numbers as they are, but none beyond the largest of a compute dtype."""
    if dtype != "float16":
        return x
    return ops.clip(ops.cast(x, "float32"), -_LARGEST_HALF, _LARGEST_HALF)
