"""Activation functions by their Hugging Face names."""

from keras import ops


def _gelu_tanh(x):
    return ops.gelu(x, approximate=True)


def _gelu_erf(x):
    return ops.gelu(x, approximate=False)


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
