"""Layers whose parts come back from a file as they were quantised."""

import keras


class KeepsQuantization:
    """Mixin of a Keras layer that makes its sublayers itself.

    `model.quantize("int8")` gives each `Dense` and `Embedding` other variables. Keras
    writes down that it did in the config of the layer, but the config of a layer that
    makes its sublayers says nothing of theirs, so that a file would be loaded into
    sublayers which are not quantised. This mixin writes it beside the shapes that the
    layer was built for, and quantises the sublayers again where the layer is built
    from them.

    `keras.models.clone_model` builds nothing, and its copy is not quantised.

    Example:

    >>> class Tower(KeepsQuantization, keras.layers.Layer):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.dense = keras.layers.Dense(8)
    """

    def get_build_config(self):
        config = super().get_build_config()
        quantized = {
            str(place): {
                "mode": layer.quantization_mode,
                "config": keras.saving.serialize_keras_object(
                    getattr(layer, "quantization_config", None)
                ),
            }
            for place, layer in enumerate(self._flatten_layers(include_self=False))
            if layer.quantization_mode is not None
        }
        return {**config, "quantized": quantized} if quantized else config

    def build_from_config(self, config):
        super().build_from_config(config)
        quantized = (config or {}).get("quantized", {})
        # Places among the layers as they are before the first of them changes.
        layers = list(self._flatten_layers(include_self=False))
        for place, given in quantized.items():
            layer = layers[int(place)]
            # A layer of the user's may have come back quantised already.
            if layer.quantization_mode is None:
                settings = keras.saving.deserialize_keras_object(given["config"])
                layer.quantize(given["mode"], type_check=False, config=settings)
