import keras
from keras import ops

from keras_t4r.backend import take_rows
from keras_t4r.layers.sharded_rows import ShardedRows


class ColumnTable(ShardedRows, keras.layers.Layer):
    """Base of the encoders that give each id of a column a row of a table.

    `e(id) = table[id]`, and `e(0) = 0`: id 0 is padding. Only such an encoder serves
    the item column, for heads score with its table.

    A subclass has the properties `rows` and `dim`, the table's shape, and a method
    `table(training)` that gives it: a weight, or computed from weights. A table that is
    a weight is handed on as `rows_of` gives it, so that a step costs what its batch
    touches; a computed one is computed whole, `rows` times `dim` numbers a step.

    Call arguments:
        ids: int tensor, of any shape.
        training: bool.

    Returns:
        A tensor of that shape and one axis more, `dim` wide.
    """

    def __init__(self, **kwargs):
        # Rows that a batch needs are cast, not the whole table.
        super().__init__(**{"autocast": False, **kwargs})

    @property
    def rows(self):
        """Number of ids, padding included."""
        raise NotImplementedError

    @property
    def dim(self):
        raise NotImplementedError

    def table(self, training=None):
        """The table, `(rows, dim)`, in the dtype of the weights."""
        raise NotImplementedError

    def with_table(self, ids, training=None):
        """The rows of ids, and the table that they were taken from."""
        table = self.table(training=training)
        return self.look_up(table, ids), table

    def look_up(self, table, ids):
        """The vectors of ids; see `vectors_of`."""
        return self.vectors_of(take_rows(table, ids), ids)

    def vectors_of(self, rows, ids):
        """Rows of ids in the compute dtype; zero, with no gradient, for id 0."""
        rows = ops.cast(rows, self.compute_dtype)
        return rows * ops.cast(ops.expand_dims(ops.not_equal(ids, 0), -1), rows.dtype)

    def call(self, ids, training=None):
        return self.with_table(ids, training=training)[0]

    def compute_output_spec(self, ids, training=None):
        shape = (*ids.shape, self.dim)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)
