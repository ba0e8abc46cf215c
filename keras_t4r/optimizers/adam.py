import keras
from keras import ops

from keras_t4r.optimizers.row_sparse import RowSparse


@keras.saving.register_keras_serializable(package="keras_t4r")
class RowSparseAdam(RowSparse, keras.optimizers.Adam):
    """Adam, whose step costs what its batch touches of a table.

    With `t` the number of all steps, for each row that step `t` touches, of gradient
    `g`:

    `m = b1 * m + (1 - b1) * g`, `v = b2 * v + (1 - b2) * g^2`,
    `row = row - lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon)`

    Args:
        *args, **kwargs: of `keras.optimizers.Adam`.

    Raises:
        ValueError: `gradient_accumulation_steps` is given; or a variable is in float16,
            when it is built.
        NotImplementedError: the backend is not TensorFlow; when it is built.

    Example:

    >>> model.compile(RowSparseAdam(1e-3))

    References:
    - Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    - `tfa.optimizers.LazyAdam`; `torch.optim.SparseAdam`.
    """

    def update_rows(self, gradient, rows, index, learning_rate):
        dtype = gradient.dtype
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        step = ops.cast(self.iterations + 1, dtype)
        m, v = rows.of(self._momentums[index]), rows.of(self._velocities[index])
        new_m = m.write(m.read() + (gradient - m.read()) * (1 - beta_1))
        new_v = v.write(v.read() + (ops.square(gradient) - v.read()) * (1 - beta_2))
        if self.amsgrad:
            most = rows.of(self._velocity_hats[index])
            new_v = most.write(ops.maximum(most.read(), new_v))
        alpha = ops.sqrt(1 - ops.power(beta_2, step)) / (1 - ops.power(beta_1, step))
        change = learning_rate * alpha * new_m / (ops.sqrt(new_v) + self.epsilon)
        rows.write(rows.read() - change)
