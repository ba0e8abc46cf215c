"""What TensorFlow, JAX and PyTorch do each in their own way.

Everything else in the package is written in `keras.ops`.
"""

import contextlib
import math

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
    return x - ops.scatter(rows[:, None], values, x.shape)


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
    """Makes the variables of a model's optimizer, in the scope of its strategy; does
    nothing where there is no optimizer, or its variables are there."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or optimizer.built:
        return
    scope = contextlib.nullcontext()
    if name() == "tensorflow":
        scope = model.distribute_strategy.scope()
    with scope:
        optimizer.build(model.trainable_variables)


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
