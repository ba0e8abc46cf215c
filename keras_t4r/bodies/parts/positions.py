"""Learnt position embeddings."""

import keras
from keras import ops


class PositionEmbedding(keras.layers.Layer):
    """Adds the `t`-th row of a learnt table to the vector at position `t`.

    Args:
        max_length: int. Number of rows.
        d_model: int. Width of the vectors.
        stddev: float. Standard deviation of the initial table.
    """

    def __init__(self, max_length, d_model, stddev=0.02, **kwargs):
        super().__init__(**kwargs)
        self.max_length = max_length
        self.d_model = d_model
        self.stddev = stddev

    def build(self, input_shape):
        self.table = self.add_weight(
            shape=(self.max_length, self.d_model),
            initializer=keras.initializers.RandomNormal(stddev=self.stddev),
            name="table",
        )

    def call(self, x):
        return x + ops.convert_to_tensor(self.table)[: ops.shape(x)[1]]

    def compute_output_shape(self, input_shape):
        return input_shape
