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


def over_replicas(total, count):
    """`total / count`, of all replicas' targets.

    A replica of `tf.distribute` has a sum over the targets of its own sessions, and
    replicas may have more of them or fewer. The mean over the replicas of what this
    returns is the mean over all targets.
    """
    mean = mean_over_replicas(ops.cast(count, "float32"))
    return total / ops.maximum(mean, 1.0 / replicas())


def losses_over_replicas():
    """The losses that layers added within `weighing`, over the targets of all replicas.

    A layer adds the mean over its own replica's targets: what other replicas have is
    asked for after the call, for there replicas wait for each other (see
    `mean_over_replicas`).

    Returns:
        A tuple: a dict of a layer's `id` to its loss, not yet weighed; one of it to the
        number of its targets, this replica's; and the number that makes the sum of what
        the layers added the sum of these losses, weighed.
    """
    weights, losses = _now.get() or ({}, [])
    found, counts, correction = {}, {}, 0.0
    for layer_id, total, count in losses:
        loss = _mean(total, count)
        if replicas() > 1:
            of_replica, loss = loss, over_replicas(total, count)
            factor = _weight_of(layer_id, weights).loss
            correction = correction + factor * (loss - of_replica)
        found[layer_id] = found.get(layer_id, 0.0) + loss
        counts[layer_id] = counts.get(layer_id, 0.0) + ops.cast(count, "float32")
    return found, counts, correction


def sessions_weight(layer):
    """What each session, or event, counts for a layer; `None`: all alike."""
    weights, _ = _now.get() or ({}, [])
    return _weight_of(id(layer), weights).sessions


def add_weighed_loss(layer, total, count):
    """Adds the loss of a layer, times what the layer counts.

    Args:
        layer: the layer.
        total: scalar tensor. The sum of the losses of its targets.
        count: scalar tensor. Their number, which the sum is divided by.
    """
    weights, losses = _now.get() or ({}, [])
    losses.append((id(layer), total, count))
    layer.add_loss(_weight_of(id(layer), weights).loss * _mean(total, count))


def _mean(total, count):
    return total / ops.maximum(count, 1.0)


def _weight_of(layer_id, weights):
    return weights.get(layer_id, weights.get(None, Weight()))


def over_events(weights, shape):
    """Float32 weights `(batch, time)` of those of sessions or events."""
    weights = ops.cast(weights, "float32")
    if len(weights.shape) == 1:
        weights = weights[:, None]
    return ops.broadcast_to(weights, shape)
