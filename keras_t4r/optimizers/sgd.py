import keras
from keras import ops

from keras_t4r.optimizers.row_sparse import RowSparse


@keras.saving.register_keras_serializable(package="keras_t4r")
class RowSparseSGD(RowSparse, keras.optimizers.SGD):
    """Stochastic gradient descent, whose step costs what its batch touches of a table.

    For each row that a step touches, of gradient `g`, with momentum `b`:

    `v = b * v - lr * g`, `row = row + v`, or `row + b * v - lr * g` with `nesterov`

    Without momentum it is exactly Keras's. With it a row moves in the steps that touch
    it only, and its momentum does not fade in others.

    Args:
        *args, **kwargs: of `keras.optimizers.SGD`.

    Raises:
        ValueError, NotImplementedError: as of `RowSparseAdam`.

    Example:

    >>> model.compile(RowSparseSGD(0.1, momentum=0.9))

    References:
    - Sutskever et al., On the Importance of Initialization and Momentum in Deep
      Learning, ICML 2013.
    """

    def update_rows(self, gradient, rows, index, learning_rate):
        change = -learning_rate * gradient
        if self.momentum:
            momentum = ops.cast(self.momentum, gradient.dtype)
            kept = rows.of(self.momentums[index])
            velocity = kept.write(kept.read() * momentum + change)
            change = velocity * momentum + change if self.nesterov else velocity
        rows.write(rows.read() + change)
