"""What a model tells its heads of a step: how much sessions and heads count.

`fit` has the sample weights, and `compile` the weights of the losses, while heads add
their losses within the model's call. Both hold for one call, so they are neither the
layer's nor the graph's.
"""

import contextvars
from contextlib import contextmanager
from dataclasses import dataclass

from keras import ops

from keras_t4r.backend import of_one_replica

# `(weights, losses)` of `weighing`.
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
    """Within it, layers know these weights, and `told_losses` those layers' losses.

    Args:
        weights: dict of the `id` of a layer to its `Weight`; under `None`, what holds
            for layers without an entry.

    """
    token = _now.set((weights, {}))
    try:
        yield
    finally:
        _now.reset(token)


def told_losses():
    """Dict of the `id` of each layer that was called to its loss, not yet weighed."""
    return told[1] if (told := _now.get()) else {}


def sessions_weight(layer):
    """What each session, or event, counts for a layer; `None`: all alike."""
    return _weight_of(layer).sessions


def add_weighed_loss(layer, loss):
    """Adds a layer's loss, times what the layer counts."""
    told_losses()[id(layer)] = loss
    layer.add_loss(of_one_replica(_weight_of(layer).loss * loss))


def _weight_of(layer):
    weights = told[0] if (told := _now.get()) else {}
    return weights.get(id(layer), weights.get(None, Weight()))


def over_events(weights, shape):
    """Float32 weights `(batch, time)` of those of sessions or events."""
    weights = ops.cast(weights, "float32")
    if len(weights.shape) == 1:
        weights = weights[:, None]
    return ops.broadcast_to(weights, shape)
