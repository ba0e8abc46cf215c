"""What TensorFlow, JAX and PyTorch do each in their own way.

Everything else in the package is written in `keras.ops`.
"""

import contextlib
import contextvars
import math
import zlib

import keras
from keras import ops


def name():
    """`"tensorflow"`, `"jax"` or `"torch"`."""
    return keras.backend.backend()


def shapes_are_fixed():
    """Whether a shape may not depend on values: JAX compiles what is traced."""
    return name() == "jax"


def subtract_rows(x, rows, values):
    """`x` with `values` subtracted at `rows`, which may repeat.

    On PyTorch `x` itself changes: it is for what no gradient flows through.

    Args:
        x: float tensor `(n, dim)`.
        rows: int tensor `(m,)`.
        values: float tensor `(m, dim)`.
    """
    if name() == "tensorflow":
        import tensorflow as tf

        return tf.tensor_scatter_nd_sub(x, rows[:, None], values)
    if name() == "jax":
        return x.at[rows].add(-values)
    rows, values = ops.convert_to_tensor(rows), ops.convert_to_tensor(values)
    return x.index_add_(0, rows, -values)


def has_row_gradients():
    """Whether gathered rows have a gradient of these rows, and not of a table."""
    return name() == "tensorflow"


# The ids of the variables whose rows are trained alone, as far as a model says so that
# is computing; else `None`, and variables are marked.
_rows_alone = contextvars.ContextVar("rows_alone", default=None)
_MARK = "_rows_are_trained_alone"


@contextlib.contextmanager
def rows_trained_alone(variables):
    """Within it, but not within another, rows of these variables alone are trained
    alone, whatever is marked."""
    if _rows_alone.get() is not None:
        yield
        return
    token = _rows_alone.set({id(variable) for variable in variables})
    try:
        yield
    finally:
        _rows_alone.reset(token)


def mark_rows_trained_alone(variables):
    """Marks the variables of an optimizer that writes some rows of them, for models
    that do not say so themselves."""
    if _rows_alone.get() is None:
        for variable in variables:
            setattr(variable, _MARK, True)


def as_table(variable):
    """A variable of rows as layers hand it on, for `take_rows`, and for all that takes
    a tensor.

    Where its rows are trained alone it is the variable itself: read whole first, a step
    that writes rows would copy all of them. Elsewhere it is not, for once rows were
    gathered from a variable, TensorFlow copies it each time that it is read whole.
    """
    known = _rows_alone.get()
    if getattr(variable, _MARK, False) if known is None else id(variable) in known:
        return variable.value
    table = ops.convert_to_tensor(variable)
    return _with_whole_gradient(table) if name() == "tensorflow" else table


def _with_whole_gradient(table):
    """The table, whose gradient has each row once.

    TensorFlow's has a row as often as it was gathered, and Keras's optimizers take it
    for as many rows: what Adam divides by would be a sum of squares, and not the square
    of the sum.
    """
    import tensorflow as tf

    read = tf.convert_to_tensor(table)
    return tf.custom_gradient(lambda x: (tf.identity(x), tf.convert_to_tensor))(read)


def take_rows(table, ids):
    """Rows of a table, whose gradient touches these rows only, where that can be.

    Args:
        table: tensor `(V, …)`, as of `as_table`.
        ids: int tensor.
    """
    if name() == "tensorflow":
        import tensorflow as tf

        return tf.gather(table, ids)
    return ops.take(table, ids, axis=0)


class RowGradient:
    """The gradient of some rows, `tf.IndexedSlices`: `indices` and `values`."""

    @staticmethod
    def is_one(gradient):
        if name() != "tensorflow":
            return False
        import tensorflow as tf

        return isinstance(gradient, tf.IndexedSlices)

    @staticmethod
    def of_all(gradient):
        """A whole gradient as that of all rows, in float32."""
        import tensorflow as tf

        rows, values = tf.range(tf.shape(gradient)[0]), tf.cast(gradient, "float32")
        return tf.IndexedSlices(values, rows, tf.shape(gradient))

    @staticmethod
    def summed(gradient):
        """The same with each row once."""
        import tensorflow as tf

        rows, place = tf.unique(tf.reshape(gradient.indices, (-1,)))
        shape = tf.concat([[-1], tf.shape(gradient.values)[1:]], axis=0)
        values = tf.reshape(gradient.values, shape)
        if values.dtype == tf.bfloat16:
            values = tf.cast(values, tf.float32)
        values = tf.math.unsorted_segment_sum(values, place, tf.size(rows))
        return tf.IndexedSlices(values, rows, gradient.dense_shape)

    @staticmethod
    def with_values(gradient, values):
        import tensorflow as tf

        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)

    def __init__(self, gradient):
        """What `/` makes such a gradient of, for which there is none."""
        self._gradient = gradient

    def __truediv__(self, number):
        return self.with_values(self._gradient, self._gradient.values / number)


class Rows:
    """Some rows of a variable, to read and to write, on TensorFlow.

    Those of a variable in bfloat16 are read as float32, and written rounded up or down
    by chance: what is written is what the variable is on average. Rounded to what is
    nearest, a change of less than a 512th of a number would be none, however often.

    Args:
        variable: Keras's, or `tf.Variable`.
        ids: int tensor `(m,)`. The rows, each once.
        step: int scalar tensor. Each step has a chance of its own, the same for all
            replicas, and for a run that is resumed.
        place: int or string. The variable's among those of the optimizer.
    """

    def __init__(self, variable, ids, step, place):
        of_keras = isinstance(variable, keras.Variable)
        self._variable = variable.value if of_keras else variable
        self._ids, self._step, self._place = ids, step, place
        # A table and its moments are rounded each by a chance of its own. (Not by
        # their names, which a model that was loaded may call otherwise.)
        self._salt, self._others = zlib.crc32(str(place).encode()) >> 1, 0
        dtype = keras.backend.standardize_dtype(variable.dtype)
        self._is_half = dtype == "bfloat16"
        #: What values are read and written in.
        self.dtype = "float32" if self._is_half else dtype

    def of(self, variable):
        """The same rows of another variable."""
        self._others += 1
        place = f"{self._place}, {self._others}"
        return Rows(variable, self._ids, self._step, place)

    def begin_as(self, other, begins):
        """Puts the whole variable of other rows in place of the whole of these.

        Args:
            other: `Rows`.
            begins: scalar bool tensor. Only where it is true anything is read.
        """
        import tensorflow as tf

        def copy():
            self._variable.assign(tf.convert_to_tensor(other._variable))
            return 0

        tf.cond(begins, copy, lambda: 0)

    def read(self):
        import tensorflow as tf

        return tf.cast(tf.gather(self._variable, self._ids), self.dtype)

    def write(self, values):
        """Puts the values `(m, …)` in place of the rows; returns them."""
        import tensorflow as tf

        written = self._rounded(values) if self._is_half else values
        self._variable.scatter_update(tf.IndexedSlices(written, self._ids))
        return values

    def _rounded(self, values):
        import tensorflow as tf

        # A bfloat16 is the upper half of a float32: chance carries into it.
        seed = tf.stack([tf.cast(self._step, "int32"), self._salt])
        shape, low = tf.shape(values), tf.constant(0xFFFF, tf.uint32)
        chance = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32)
        bits = tf.bitcast(values, tf.uint32) + tf.bitwise.bitwise_and(chance, low)
        bits = tf.bitwise.bitwise_and(bits, tf.bitwise.invert(low))
        rounded = tf.cast(tf.bitcast(bits, tf.float32), tf.bfloat16)
        # A carry would make a number of what is none.
        finite = tf.math.is_finite(values)
        return tf.where(finite, rounded, tf.cast(values, tf.bfloat16))


def loop_in_order(condition, body, state):
    """`ops.while_loop` whose steps never run side by side.

    TensorFlow else runs ten at once, and holds what each of them makes.
    """
    if name() != "tensorflow":
        return ops.while_loop(condition, body, state)
    import tensorflow as tf

    return tf.while_loop(condition, body, state, parallel_iterations=1)


def zeros_to_fill(x):
    """Zeros of the shape and dtype of `x`, made anew in each step.

    TensorFlow folds zeros of a known shape into a constant, and keeps it twice.
    """
    if name() != "tensorflow":
        return ops.zeros_like(x)
    import tensorflow as tf

    return tf.raw_ops.Empty(shape=tf.shape(x), dtype=x.dtype, init=True)


def put_rows(x, start, values):
    """`x` with `values` in place of the rows from `start` on.

    In a loop whose state `x` is, nothing is copied but the values. On PyTorch `x`
    itself changes: it is for what no gradient flows through.

    Args:
        x: float tensor `(n, …)`.
        start: int, or scalar int tensor.
        values: float tensor `(m, …)`.
    """
    if name() == "torch":
        x[start : start + len(values)] = values
        return x
    if name() == "jax":
        import jax

        return jax.lax.dynamic_update_slice_in_dim(x, values, start, 0)
    import tensorflow as tf

    # A scatter would copy `x` each time: it never takes over its buffer.
    end = start + tf.shape(values)[0]
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=x, begin=[start], end=[end], strides=[1], value=values
    )


def add_at_columns(x, columns, values):
    """`x` with `values` added, in each row, at `columns`, which may repeat.

    Args:
        x: float tensor `(batch, n)`.
        columns: int tensor `(batch, m)`.
        values: float tensor `(batch, m)`.
    """
    if name() == "torch":
        return x.scatter_add(1, columns.long(), values)
    rows = ops.arange(ops.shape(x)[0], dtype=columns.dtype)[:, None]
    rows = ops.broadcast_to(rows, ops.shape(columns))
    if name() == "jax":
        return x.at[rows, columns].add(values)
    import tensorflow as tf

    return tf.tensor_scatter_nd_add(x, ops.stack([rows, columns], axis=-1), values)


def mean_over_replicas(x):
    """The mean of a scalar over the replicas of `tf.distribute`; else itself.

    Replicas wait here for each other, and other replicas' calls clear and fill what
    layers keep of a call, `layer.losses` above all: what is needed of it is taken
    before. `keras.distribution`, JAX's, knows no replicas: what it computes is whole.
    """
    if replicas() == 1:
        return x
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, x)


def replicas():
    """How many replicas of `tf.distribute` share a step."""
    if name() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def build_optimizer(model):
    """Makes the variables of a `SessionModel`'s optimizer, in the scope of its
    strategy; does nothing where there is no optimizer, or its variables are there."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or optimizer.built:
        return
    scope = contextlib.nullcontext()
    if name() == "tensorflow":
        scope = model.distribute_strategy.scope()
    # Nothing is marked: the model says itself what its optimizer does.
    with scope, rows_trained_alone(()):
        optimizer.build(model.trainable_variables)


@contextlib.contextmanager
def weights_kept(model):
    """Within it, an error in the middle of `fit`, `evaluate` or `predict` leaves a
    `SessionModel` the weights of its last step.

    On JAX Keras takes them out of the variables for the steps, and puts them back where
    all went well: see `jax_state`.
    """
    try:
        yield
    except BaseException:
        if name() == "jax":
            # An error within a step leaves none, for it was given them to write over.
            with contextlib.suppress(RuntimeError):
                model.jax_state_sync()
        raise


def jax_state(state, asked):
    """What Keras took out of a model's variables, as `jax_state_sync` reads it.

    Keras itself keeps it only after a step.

    Args:
        state: tuple, as of `_get_jax_state`.
        asked: dict. The arguments of `_get_jax_state`.
    """
    kinds = ("trainable", "non_trainable", "optimizer", "metrics")
    names = [f"{kind}_variables" for kind in kinds]
    return dict(zip([n for n in names if asked.get(n)], state, strict=True))


def as_numbers(logs):
    """A dict of scalars with Python's floats for values; those of a graph stay."""
    from keras.src.utils.python_utils import pythonify_logs

    return pythonify_logs(logs)


def mask_of(x):
    """The mask that a tensor carries, or `None`.

    On JAX Keras keeps it beside the tensor: a tensor that left a transformation, as
    that of the gradient, is another one, and carries none.
    """
    from keras.src.backend import get_keras_mask

    return get_keras_mask(x)


def only_shapes_are_asked():
    """Whether Keras runs a layer to learn its output's shape, and not to compute.

    What a tensor carries beside its shape and dtype, a mask above all, is then not
    there.
    """
    from keras.src.backend import in_symbolic_scope

    return in_symbolic_scope()


def after_check_at_most(x, number, limit, message):
    """`x`, once `number`, a scalar tensor, was seen to be no more than `limit`.

    Only TensorFlow has such numbers: its graphs run at lengths that they were not
    traced for. Elsewhere they are Python's own when the graph is made.

    Raises:
        tf.errors.InvalidArgumentError: with the `message`, when the graph runs.
    """
    import tensorflow as tf

    check = tf.debugging.assert_less_equal(number, limit, message=message)
    # All that follows waits for the check, or it might fail before it with a message
    # of its own.
    with tf.control_dependencies([check]):
        return tf.identity(x)


def gains_by_written_gradients():
    """Whether gradients of elementwise steps are faster written out by hand.

    TensorFlow runs each elementwise operation as a pass over memory of its own, and
    automatic differentiation makes many of them. JAX fuses them; PyTorch has kernels
    for the usual ones.
    """
    return name() == "tensorflow"


def gains_by_flat_products():
    """Whether a matrix product is faster with its leading axes made one.

    XLA's gradient of the kernel sums over all leading axes, and on CPU takes twice as
    long for two of them as for one.
    """
    return name() == "jax"


def fuses_attention(dtype):
    """Whether `ops.dot_product_attention` is faster than attention written out.

    On TensorFlow it is the same operations. On JAX it asks for a product that,
    compiled, only GPUs have in float16.
    """
    return name() == "torch" or (name() == "jax" and dtype != "float16")


def devices_of_a_model():
    """How many devices share a model's weights: more than one by `ModelParallel` only.

    `keras.distribution` works on JAX.
    """
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, keras.distribution.ModelParallel):
        return 1
    return math.prod(distribution.device_mesh.shape)


def has_global_random_state():
    """Whether Keras's layers draw from a generator that is no variable of theirs.

    On PyTorch its `Dropout` without a seed draws from `torch`'s own.
    """
    return name() == "torch"


def seed_global_random_state(step):
    """Makes what `torch` draws next a function of Keras's seed and a step's number.

    Without `keras.utils.set_random_seed` a run is not meant to repeat, and it stays.
    """
    from keras.src.utils.rng_utils import get_random_seed

    seed = get_random_seed()
    if seed is not None:
        import torch

        torch.manual_seed((seed * 1_000_003 + step) % 2**63)
