"""What a model tells its heads of a step: how much sessions and heads count.

`fit` has the sample weights, and `compile` the weights of the losses, while heads add
their losses within the model's call. Both hold for one call, so they are neither the
layer's nor the graph's.
"""

import contextvars
from contextlib import contextmanager
from dataclasses import dataclass

from keras import ops

from keras_t4r.backend import mean_over_replicas, replicas

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
    """Within it, layers know these weights, and `losses_over_replicas` their losses.

    Args:
        weights: dict of the `id` of a layer to its `Weight`; under `None`, what holds
            for layers without an entry.
    """
    token = _now.set((weights, []))
    try:
        yield
    finally:
        _now.reset(token)


def losses_over_replicas():
    """What layers lost that were called within `weighing`, over all replicas.

    A layer adds the mean over the targets of its own replica of `tf.distribute`, and
    replicas may have more of them or fewer: the mean over all replicas' weighs each by
    its share.

    Returns:
        The pair of a dict of the `id` of a layer to its loss, not yet weighed, so that
        the mean over the replicas is that over all targets; and what the sum of the
        layers' losses, weighed, lacks to be of these.
    """
    weights, losses = _now.get() or ({}, [])
    shares, lack = {}, 0.0
    for layer, loss, count in losses:
        share = loss
        if replicas() > 1:
            mean = ops.maximum(mean_over_replicas(count), 1.0)
            share = loss * ops.maximum(count, 1.0) / mean
            lack = lack + _weight_of(layer, weights).loss * (share - loss)
        shares[layer] = shares.get(layer, 0.0) + share
    return shares, lack


def sessions_weight(layer):
    """What each session, or event, counts for a layer; `None`: all alike."""
    weights, _ = _now.get() or ({}, [])
    return _weight_of(id(layer), weights).sessions


def add_weighed_loss(layer, loss, count):
    """Adds a layer's loss, times what the layer counts.

    Args:
        loss: scalar tensor. The sum over the layer's targets.
        count: scalar tensor. Their number, which the sum is divided by.
    """
    loss = loss / ops.maximum(count, 1.0)
    weights, losses = _now.get() or ({}, [])
    losses.append((id(layer), loss, count))
    layer.add_loss(_weight_of(id(layer), weights).loss * loss)


def _weight_of(layer, weights):
    return weights.get(layer, weights.get(None, Weight()))


def over_events(weights, shape):
    """Float32 weights `(batch, time)` of those of sessions or events."""
    weights = ops.cast(weights, "float32")
    if len(weights.shape) == 1:
        weights = weights[:, None]
    return ops.broadcast_to(weights, shape)
