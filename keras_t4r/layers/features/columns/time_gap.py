import keras
from keras import ops

from keras_t4r.arguments import truth
from keras_t4r.layers.features.columns.numbers import finite


@keras.saving.register_keras_serializable(package="keras_t4r")
class TimeGap(keras.layers.Layer):
    """How long before an event the one before it was.

    `g_t = log(1 + seconds from event t - 1 to event t)`, and `g_1 = 0`. Times may begin
    anywhere: only differences count. float32 holds seconds since 1970 to the minute or
    two; count from the session's or the log's beginning where shorter gaps matter.

    Args:
        encoder: layer that gives a vector for each gap, as `SoftEmbedding` or
            `Buckets`. `None` for the number itself.
        log: bool. Whether to take the logarithm; else gaps are seconds.

    Call arguments:
        x: float tensor `(batch, time)`. Times in seconds, in order.

    Returns:
        A tensor `(batch, time, width)`; without an encoder 1 wide.

    Raises:
        ValueError: there is one time a session, and none an event.

    Example:

    ```python
    columns = {"seconds": [TimeGap(SoftEmbedding()), PeriodicTime(["day", "week"])]}
    ```
    """

    def __init__(self, encoder=None, log=True, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.encoder = encoder
        self.log = truth("log", log)

    def build(self, x_shape):
        if len(x_shape) != 2:
            raise ValueError(
                f"{self.name!r} takes a time an event, (batch, time), and none of "
                f"shape {tuple(x_shape)}."
            )
        if self.encoder is not None and not self.encoder.built:
            self.encoder.build(x_shape)

    def call(self, x):
        x = ops.cast(x, "float32")
        # At the first event of the padding the time goes back, to 0.
        gap = ops.maximum(x[:, 1:] - x[:, :-1], 0.0)
        gap = ops.concatenate([ops.zeros_like(x[:, :1]), gap], axis=1)
        if self.log:
            gap = ops.log1p(gap)
        if self.encoder is not None:
            return ops.cast(self.encoder(gap), self.compute_dtype)
        return finite(ops.expand_dims(gap, -1), self.compute_dtype)

    def compute_output_spec(self, x):
        width = 1
        if self.encoder is not None:
            gap = keras.KerasTensor(x.shape, dtype="float32")
            width = self.encoder.compute_output_spec(gap).shape[-1]
        return keras.KerasTensor((*x.shape, width), dtype=self.compute_dtype)

    def get_config(self):
        encoder = self.encoder
        if encoder is not None:
            encoder = keras.saving.serialize_keras_object(encoder)
        return {**super().get_config(), "encoder": encoder, "log": self.log}

    @classmethod
    def from_config(cls, config):
        encoder = config["encoder"]
        if encoder is not None:
            encoder = keras.saving.deserialize_keras_object(encoder)
        return cls(**{**config, "encoder": encoder})
