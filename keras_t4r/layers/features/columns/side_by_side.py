import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_t4r")
class SideBySide(keras.layers.Layer):
    """Several encoders of one column: `[f_1(x); …; f_n(x)]`.

    Args:
        encoders: list of layers, each of which gives a vector a value.

    Call arguments:
        x: tensor, as the encoders take it.

    Returns:
        Their outputs side by side, in the compute dtype.
    """

    def __init__(self, encoders, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.encoders = list(encoders)

    def build(self, x_shape):
        for encoder in self.encoders:
            if not encoder.built:
                encoder.build(x_shape)

    def call(self, x):
        found = [ops.cast(encoder(x), self.compute_dtype) for encoder in self.encoders]
        return ops.concatenate(found, axis=-1)

    def compute_output_spec(self, x):
        shapes = [
            tuple(encoder.compute_output_spec(x).shape) for encoder in self.encoders
        ]
        width = sum(shape[-1] for shape in shapes)
        return keras.KerasTensor((*shapes[0][:-1], width), dtype=self.compute_dtype)

    def get_config(self):
        serialized = [keras.saving.serialize_keras_object(e) for e in self.encoders]
        return {**super().get_config(), "encoders": serialized}

    @classmethod
    def from_config(cls, config):
        encoders = map(keras.saving.deserialize_keras_object, config["encoders"])
        return cls(**{**config, "encoders": list(encoders)})
