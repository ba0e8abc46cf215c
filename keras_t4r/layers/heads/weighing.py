"""What a model tells its heads of a step: how much sessions and heads count.

`fit` has the sample weights, and `compile` the weights of the losses, while heads add
their losses within the model's call. Both hold for one call, so they are neither the
layer's nor the graph's.
"""

import contextvars
from contextlib import contextmanager
from dataclasses import dataclass

from keras import ops

_now = contextvars.ContextVar("weighing", default=None)


@dataclass(frozen=True)
class Weight:
    """What counts for a head: its loss as a whole, and each session.

    Args:
        loss: float. Factor of the head's loss.
        sessions: tensor `(batch,)` or `(batch, time)`, or `None`: all alike.
    """

    loss: float = 1.0
    sessions: object = None


@contextmanager
def weighing(weights):
    """Within it, `weight_of` knows these weights.

    Args:
        weights: dict of the `id` of a layer to its `Weight`; under `None`, what holds
            for layers without an entry.
    """
    token = _now.set(weights)
    try:
        yield
    finally:
        _now.reset(token)


def weight_of(layer):
    """The `Weight` of a layer."""
    weights = _now.get() or {}
    return weights.get(id(layer), weights.get(None, Weight()))


def over_events(weights, shape):
    """Float32 weights `(batch, time)` of those of sessions or events."""
    weights = ops.cast(weights, "float32")
    if len(weights.shape) == 1:
        weights = weights[:, None]
    return ops.broadcast_to(weights, shape)
