import keras
from keras import ops

from keras_t4r.arguments import truth, whole_number
from keras_t4r.layers.features.columns.numbers import within


@keras.saving.register_keras_serializable(package="keras_t4r")
class GivenVectors(keras.layers.Layer):
    """Vectors that come with the events: `e(v) = adaptor(norm(v))`.

    Args:
        adaptor: `None`, int for a `Dense` of that width, or a layer of one's own.
        layer_norm: bool. Normalise the vectors first, whatever their scale.

    Call arguments:
        x: float tensor `(batch, time, width)`.

    Returns:
        A tensor `(batch, time, …)`, as wide as what the adaptor makes.

    Raises:
        TypeError, ValueError: `adaptor` is neither a layer nor a whole number from 1
            on, or `layer_norm` neither true nor false.

    Example:

    ```python
    columns = {"image": GivenVectors(adaptor=32, layer_norm=True)}
    ```
    """

    def __init__(self, adaptor=None, layer_norm=False, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        if adaptor is not None and not isinstance(adaptor, keras.layers.Layer):
            adaptor = keras.layers.Dense(
                whole_number("adaptor", adaptor),
                name="adaptor",
                dtype=self.dtype_policy,
            )
        self.adaptor = adaptor
        self.layer_norm = truth("layer_norm", layer_norm)

    def build(self, x_shape):
        self._norm = None
        if self.layer_norm:
            # Numbers may be beyond what half precision holds.
            self._norm = keras.layers.LayerNormalization(
                name="norm", dtype=self.variable_dtype
            )
            self._norm.build(x_shape)
        if self.adaptor is not None and not self.adaptor.built:
            self.adaptor.build(x_shape)

    def call(self, x):
        if self._norm is not None:
            x = self._norm(x)
        x = within(x, self.compute_dtype)
        if self.adaptor is not None:
            x = self.adaptor(x)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, x_shape):
        if self.adaptor is None:
            return tuple(x_shape)
        return tuple(self.adaptor.compute_output_shape(x_shape))

    def compute_output_spec(self, x):
        shape = self.compute_output_shape(x.shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        adaptor = self.adaptor
        if adaptor is not None:
            adaptor = keras.saving.serialize_keras_object(adaptor)
        return {
            **super().get_config(),
            "adaptor": adaptor,
            "layer_norm": self.layer_norm,
        }

    @classmethod
    def from_config(cls, config):
        adaptor = config["adaptor"]
        if adaptor is not None:
            adaptor = keras.saving.deserialize_keras_object(adaptor)
        return cls(**{**config, "adaptor": adaptor})
