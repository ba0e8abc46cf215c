import keras

from keras_t4r.optimizers.adam import RowSparseAdam


@keras.saving.register_keras_serializable(package="keras_t4r")
class RowSparseAdamW(RowSparseAdam, keras.optimizers.AdamW):
    """`RowSparseAdam` with decoupled weight decay, of the rows that a step touches.

    For each of them `row = row * (1 - lr * weight_decay)`, and then Adam's step.

    Args:
        *args, **kwargs: of `keras.optimizers.AdamW`.

    Raises:
        ValueError, NotImplementedError: as of `RowSparseAdam`.

    Example:

    >>> model.compile(RowSparseAdamW(1e-3, weight_decay=0.01))

    References:
    - Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """
