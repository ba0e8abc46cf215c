"""How the weights of a Hugging Face model are laid out, part by part.

Each function yields `(variable, names, convert)`: the parameters of the checkpoint
that the variable is made of, and the function that makes it of them.
"""

import numpy as np


def same(x):
    return x


def turned(x):
    return x.T


def turned_and_joined(*arrays):
    return np.concatenate([x.T for x in arrays], axis=1)


def joined(*arrays):
    return np.concatenate(arrays)


def table(variable, name):
    yield variable, [name], same


def norm(layer, name):
    yield layer.gamma, [f"{name}.weight"], same
    if getattr(layer, "beta", None) is not None:
        yield layer.beta, [f"{name}.bias"], same


def dense(layer, name, convert=turned):
    # torch keeps (outputs, inputs); GPT-2's own Conv1D (inputs, outputs).
    yield layer.kernel, [f"{name}.weight"], convert
    if layer.use_bias:
        yield layer.bias, [f"{name}.bias"], same


def fused(layer, names):
    """One dense layer that the checkpoint keeps as several, side by side."""
    yield layer.kernel, [f"{name}.weight" for name in names], turned_and_joined
    if layer.use_bias:
        yield layer.bias, [f"{name}.bias" for name in names], joined
