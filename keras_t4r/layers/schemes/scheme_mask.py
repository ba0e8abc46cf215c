import keras
from keras import ops

from keras_t4r.arguments import truth


@keras.saving.register_keras_serializable(package="keras_t4r")
class SchemeMask(keras.layers.Layer):
    """Which positions hold an event, behind a masking scheme.

    A layer of its own, so that the mask is a tensor of the graph, which layers behind
    the scheme find while the graph is made.

    Args:
        drops_last: bool. Whether the last event of a session counts as padding in
            training, for it has no later one to be predicted.
        appends: bool. Whether there is one more position in inference, after the last
            event, for the one that comes next.

    Call arguments:
        real: bool tensor `(batch, time)`. Which positions hold an event.

    Returns:
        A bool tensor `(batch, time)`, or `(batch, time + 1)` with the position that
        inference appends.
    """

    def __init__(self, drops_last=False, appends=False, **kwargs):
        super().__init__(**kwargs)
        self.drops_last = truth("drops_last", drops_last)
        self.appends = truth("appends", appends)
        self.built = True

    def call(self, real, training=None):
        nothing = ops.zeros_like(real[:, :1])
        if training:
            if not self.drops_last:
                return real
            later = ops.concatenate([real[:, 1:], nothing], axis=1)
            return ops.logical_and(real, later)
        if not self.appends:
            return real
        real = ops.concatenate([real, nothing], axis=1)
        return ops.logical_or(real, is_next(real))

    def compute_output_spec(self, real, training=None):
        batch, time = real.shape
        if time is not None and self.appends and not training:
            time += 1
        return keras.KerasTensor((batch, time), dtype="bool")

    def get_config(self):
        config = {"drops_last": self.drops_last, "appends": self.appends}
        return {**super().get_config(), **config}


def is_next(real):
    """Which position follows the last real one of its row; the first if none is."""
    position = ops.arange(ops.shape(real)[1])[None, :]
    return ops.equal(position, last_position(real) + 1)


def is_last(real):
    """Which position is the last real one of its row; none where there is none."""
    position = ops.arange(ops.shape(real)[1])[None, :]
    return ops.logical_and(ops.equal(position, last_position(real)), real)


def last_position(real):
    """Index of the last real position, -1 where there is none: `(batch, 1)`."""
    position = ops.arange(1, ops.shape(real)[1] + 1)[None, :]
    return ops.max(position * ops.cast(real, position.dtype), axis=1, keepdims=True) - 1
