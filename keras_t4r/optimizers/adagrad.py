import keras
from keras import ops

from keras_t4r.optimizers.row_sparse import RowSparse


@keras.saving.register_keras_serializable(package="keras_t4r")
class RowSparseAdagrad(RowSparse, keras.optimizers.Adagrad):
    """Adagrad, whose step costs what its batch touches of a table.

    For each row that a step touches, of gradient `g`:

    `a = a + g^2`, `row = row - lr * g / sqrt(a + epsilon)`

    It is Keras's: a row without a gradient would not move there either, and a row that
    a step gathers several times has one gradient, the sum of them all, where layers
    take it from `keras_t4r.backend.as_table`, as the package's do. (Of a gradient that
    holds a row several times, such as that of `keras.layers.Embedding`, Keras's takes
    each for a row of its own: sums of squares, and not squares of sums.)

    Args:
        *args, **kwargs: of `keras.optimizers.Adagrad`.

    Raises:
        ValueError, NotImplementedError: as of `RowSparseAdam`.

    Example:

    >>> model.compile(RowSparseAdagrad(0.05))

    References:
    - Duchi et al., Adaptive Subgradient Methods, JMLR 2011.
    """

    def update_rows(self, gradient, rows, index, learning_rate):
        sums = rows.of(self._accumulators[index])
        total = sums.write(sums.read() + ops.square(gradient))
        change = learning_rate * gradient / ops.sqrt(total + self.epsilon)
        rows.write(rows.read() - change)
