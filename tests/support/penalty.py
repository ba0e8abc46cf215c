"""A layer of a user's that adds a loss."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tests")
class Penalty(keras.layers.Layer):
    """Hands its input on, and adds the mean of its squares to the loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x):
        self.add_loss(ops.mean(ops.square(x)))
        return x
