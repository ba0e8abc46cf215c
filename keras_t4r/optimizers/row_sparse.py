from keras import ops

from keras_t4r.backend import (
    RowGradient,
    Rows,
    has_row_gradients,
    mark_rows_trained_alone,
    name,
    replicas,
)


class RowSparse:
    """Mixin of a Keras optimizer whose step costs what its batch touches of a table.

    Where a variable's gradient is that of some of its rows, those rows are read and
    written, and those of its moments; all others stay as they are. So the optimizer is
    lazy: moments of a row do not fade, and weight decay and moving average do not act,
    in steps that do not touch the row. A row's average begins as the row is before the
    first step, so that a row that no step touches stays what it is. Where every step
    touches every row it is the optimizer that it is mixed into. Variables with whole
    gradients it trains as that.

    A table in bfloat16, and moments and average, which are then in bfloat16 too, take
    half the memory. A step is computed in float32, as a whole gradient is held, and
    what it writes is rounded up or down by chance, so that on average nothing of a
    change is lost. In float16 the squares of small gradients would be 0: variables in
    it are refused.

    A sampled loss, and any that only gathers rows of the table (`keras_t4r.backend`'s
    `take_rows`), has such gradients, up to a head's bias. A loss that scores all items
    has whole ones. After a first step with such gradients TensorFlow copies the table
    each time that it is read whole, as evaluation does.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.gradient_accumulation_steps:
            raise ValueError(
                f"{type(self).__name__} cannot accumulate gradients: the sum is kept "
                "for all rows of a table. Leave gradient_accumulation_steps out, or "
                "take Keras's optimizer."
            )

    def build(self, variables):
        if not has_row_gradients():
            raise NotImplementedError(
                f"{type(self).__name__} needs gradients of some rows of a table, which "
                f"TensorFlow has; on {name()} they are of all rows. Take Keras's "
                "optimizer there."
            )
        narrow = [v.path for v in variables if v.dtype == "float16"]
        if narrow:
            raise ValueError(
                f"{narrow[0]!r} is in float16, in which {type(self).__name__} would "
                "lose small gradients: give its layer dtype='bfloat16', or, for a "
                "model that computes in float16, 'mixed_float16'."
            )
        super().build(variables)
        # Before a model is traced, which reads its tables accordingly.
        mark_rows_trained_alone(variables)

    def update_rows(self, gradient, rows, index, learning_rate):
        """One step on some rows of a variable.

        Args:
            gradient: tensor `(m, …)`, in the dtype that rows are read in.
            rows: `Rows` of the variable: `read()` gives a tensor `(m, …)`, and
                `write(values)` takes one.
            index: int. The variable's place among the optimizer's.
            learning_rate: scalar tensor.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `update_rows`.")

    def update_step(self, gradient, variable, learning_rate):
        if not RowGradient.is_one(gradient):
            super().update_step(gradient, variable, learning_rate)
            return
        if replicas() > 1:
            # TensorFlow puts those of all replicas one behind the other.
            gradient = RowGradient.summed(gradient)
        index = self._get_variable_index(variable)
        rows = Rows(variable, gradient.indices, self.iterations, index)
        values = ops.cast(gradient.values, rows.dtype)
        learning_rate = ops.cast(learning_rate, rows.dtype)
        if self.weight_decay is not None and self._use_weight_decay(variable):
            decay = ops.cast(self.weight_decay, rows.dtype) * learning_rate
            rows.write(rows.read() * (1 - decay))
        self.update_rows(values, rows, index, learning_rate)
        if self.use_ema:
            average = rows.of(self._model_variables_moving_average[index])
            # Of all rows: one that is met late, or never, has an average, too.
            average.begin_as(rows, ops.equal(self.iterations, 0))
            share = self._ema_share(rows.dtype)
            average.write(share * average.read() + (1 - share) * rows.read())

    def _ema_share(self, dtype):
        # The first average is the variable itself.
        started = ops.cast(ops.not_equal(self.iterations, 0), dtype)
        return started * ops.cast(self.ema_momentum, dtype)

    def apply(self, grads, trainable_variables=None):
        if self.loss_scale_factor is not None:
            # Keras divides by it.
            grads = [RowGradient(g) if RowGradient.is_one(g) else g for g in grads]
        super().apply(grads, trainable_variables)

    def _backend_apply_gradients(self, grads, trainable_variables):
        grads = [
            _row_gradient(g, variable)
            for variable, g in zip(trainable_variables, grads, strict=True)
        ]
        self._lazy = {
            self._var_key(variable)
            for variable, g in zip(trainable_variables, grads, strict=True)
            if RowGradient.is_one(g)
        }
        super()._backend_apply_gradients(grads, trainable_variables)

    def _clip_gradients(self, grads):
        values = [g.values if RowGradient.is_one(g) else g for g in grads]
        clipped = super()._clip_gradients(values)
        return [
            RowGradient.with_values(g, value) if RowGradient.is_one(g) else value
            for g, value in zip(grads, clipped, strict=True)
        ]

    def _apply_weight_decay(self, variables):
        super()._apply_weight_decay(
            [v for v in variables if self._var_key(v) not in self._lazy]
        )

    def _update_model_variables_moving_average(self, trainable_variables):
        averages = self._model_variables_moving_average
        for variable, average in zip(trainable_variables, averages, strict=True):
            if average is None or self._var_key(variable) in self._lazy:
                continue
            share = self._ema_share(variable.dtype)
            average.assign(share * average + (1 - share) * variable)


def _row_gradient(gradient, variable):
    """The gradient as it is clipped and applied."""
    if RowGradient.is_one(gradient):
        # A row that was gathered twice has the sum.
        return RowGradient.summed(gradient)
    if variable.dtype == "bfloat16" and len(variable.shape):
        # Keras's step would round to what is nearest.
        return RowGradient.of_all(gradient)
    return gradient


def variables_by_rows(optimizer):
    """The variables that an optimizer trains row by row.

    Args:
        optimizer: Keras's, built, or `None`. One that stands for others, as a
            `LossScaleOptimizer`, trains as they do.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    several = getattr(optimizer, "optimizers", [] if inner is None else [inner])
    if several:
        return [v for each in several for v in variables_by_rows(each)]
    return optimizer._trainable_variables if isinstance(optimizer, RowSparse) else []
