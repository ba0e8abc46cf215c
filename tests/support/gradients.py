"""Gradients of a function of arrays, on any backend."""

import keras
from keras import ops


def value_and_gradients(function, arrays):
    """The value of a scalar function of tensors, and its gradients, as NumPy arrays."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            inputs = [tf.Variable(x) for x in arrays]
            value = function(*[tf.convert_to_tensor(x) for x in inputs])
        gradients = tape.gradient(value, inputs)
    elif backend == "jax":
        import jax

        argnums = tuple(range(len(arrays)))
        value, gradients = jax.value_and_grad(function, argnums)(*arrays)
    else:
        import torch

        inputs = [torch.tensor(x, requires_grad=True) for x in arrays]
        value = function(*inputs)
        gradients = torch.autograd.grad(value, inputs)
    return [ops.convert_to_numpy(ops.convert_to_tensor(x)) for x in (value, *gradients)]
