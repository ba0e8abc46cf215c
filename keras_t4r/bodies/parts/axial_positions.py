"""Position embeddings made of two small tables."""

import keras
from keras import ops


class AxialPositionEmbedding(keras.layers.Layer):
    """Adds `[row_i, column_j]` to the vector at position `i · columns + j`.

    Args:
        shape: pair of ints. Number of rows and of columns.
        widths: pair of ints. Width of what a row and a column contribute.
        dropout: float. Rate at which, in training, all positions of a column get
            nothing.
        stddev: float. Standard deviation of the initial tables.

    References:
        [Axial Attention](https://arxiv.org/abs/1912.12180)
    """

    def __init__(self, shape, widths, dropout=0.0, stddev=1.0, **kwargs):
        super().__init__(**kwargs)
        self.shape = tuple(shape)
        self.widths = tuple(widths)
        self.stddev = stddev
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.rows, self.columns = (
            self.add_weight(
                shape=(length, width),
                initializer=keras.initializers.RandomNormal(stddev=self.stddev),
                name=name,
            )
            for length, width, name in zip(
                self.shape, self.widths, ("rows", "columns"), strict=True
            )
        )

    def call(self, x, training=None):
        batch, time = ops.shape(x)[:2]
        rows, columns = self.shape
        table = ops.concatenate(
            [
                ops.repeat(ops.convert_to_tensor(self.rows), columns, axis=0),
                ops.tile(ops.convert_to_tensor(self.columns), (rows, 1)),
            ],
            axis=-1,
        )
        kept = self.dropout(ops.ones((batch, columns, 1), x.dtype), training=training)
        return x + table[:time] * ops.tile(kept, (1, rows, 1))[:, :time]

    def compute_output_shape(self, input_shape):
        return input_shape
