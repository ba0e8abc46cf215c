"""Activation functions by their Hugging Face names."""

import math

from keras import ops

from keras_t4r import backend


def _gelu_erf(x):
    """`x · Φ(x)`, with `Φ` the standard normal distribution function."""
    if not backend.gains_by_written_gradients():
        return ops.gelu(x, approximate=False)
    return _gelu_erf_few_passes(x)


def _gelu_tanh(x):
    """`x · Φ(x)` with `Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`."""
    if not backend.gains_by_written_gradients():
        return ops.gelu(x, approximate=True)
    return _gelu_tanh_few_passes(x)


# The activation is the widest tensor of a block. Written out, forward and backward
# take a third less time than what automatic differentiation makes of ops.gelu.


@ops.custom_gradient
def _gelu_erf_few_passes(x):
    cdf = ops.erf(x * math.sqrt(0.5)) * 0.5 + 0.5

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        density = ops.exp(ops.square(x) * -0.5) * (1 / math.sqrt(2 * math.pi))
        return upstream * (cdf + x * density)

    return x * cdf, gradient


@ops.custom_gradient
def _gelu_tanh_few_passes(x):
    # (1 + tanh(u)) / 2 = sigmoid(2 u).
    linear, cubic = 2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715
    square = ops.square(x)
    cdf = ops.sigmoid(x * (square * cubic + linear))

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        slope = cdf * (1 - cdf) * (square * (3 * cubic) + linear)
        return upstream * (cdf + x * slope)

    return x * cdf, gradient


_ACTIVATIONS = {
    "gelu": _gelu_erf,
    "gelu_python": _gelu_erf,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": ops.relu,
    "silu": ops.silu,
    "swish": ops.silu,
    "tanh": ops.tanh,
}


def activation_function(name):
    """Returns the function that Hugging Face configs call `name`.

    Raises:
        ValueError: the name is unknown, or is no name but a function of the
            user's, which could not be saved.
    """
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ValueError(
            f"Unknown activation {name!r}: use one of {', '.join(_ACTIVATIONS)}."
        )
    return _ACTIVATIONS[name]
