"""A transformer, or any Keras layer, as the sequence part of a model."""

import inspect
import warnings

import keras
from keras import ops

from keras_t4r.arguments import optional, truth
from keras_t4r.bodies.body import Body
from keras_t4r.bodies.registry import make_body
from keras_t4r.quantization import KeepsQuantization


@keras.saving.register_keras_serializable(package="keras_t4r")
class TransformerBlock(KeepsQuantization, keras.layers.Layer):
    """Turns event vectors into contextual vectors.

    The architecture is the one that `config` describes, with the numerics of Hugging
    Face's models and their options; `keras_t4r.bodies.BODIES` lists them, and
    `session_config` makes their configs of a few sizes. Padded events change
    nothing: they are hidden from the others, and their outputs are zeros.

    Args:
        config: a Hugging Face config, such as `transformers.XLNetConfig`, or one of
            this package's, such as `SASRecConfig`; or a Keras layer or model that maps
            `(batch, time, d_model)` to `(batch, time, width)`, `load_hf_body`'s among
            them. A layer of your own needs no more than `call`. It gets zeros at
            padding, and the mask if its `call` takes a `mask`; what it returns at
            padding becomes zeros.
        causal: bool. Whether a position sees only itself and earlier ones. `None`
            takes what the config says: GPT-2, Llama and their like are causal, BERT
            with `is_decoder`, XLNet with `attn_type="uni"`. For a layer of your own
            it states what the layer does.

    Call arguments:
        x: `(batch, time, d_model)`.
        mask: bool `(batch, time)`, True for real events; by keyword. `None` takes
            the mask that `x` carries.
        visible: bool `(batch, time, time)`, as of `PermutationLanguageModeling`. It
            needs a body of two streams: XLNet.
        times: `(batch, time)`, when each event happened, as of `HSTU`. It needs a body
            that reads times: HSTU.
        training: bool. Whether dropout is active.

    Returns:
        A tensor `(batch, time, width)`, which carries the mask.

    Raises:
        ValueError: there is no body for the config, it asks for what its body does
            not do, or the input is of another width or longer than its positions. Or
            the layer does not return one vector for each event.

    Example:

    >>> block = keras_t4r.TransformerBlock(
    ...     transformers.XLNetConfig(d_model=64, n_head=4, n_layer=2, d_inner=256))
    >>> y = block(x, mask=mask)                     # (batch, time, 64)
    """

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(**kwargs)
        causal = optional(truth, "causal", causal)
        if isinstance(config, keras.layers.Layer):
            own = getattr(config, "causal", None)
            if None not in (own, causal) and own != causal:
                raise ValueError(
                    f"The layer {config.name!r} has causal={own}, so it cannot be "
                    f"used with causal={causal}."
                )
            self.body = config
            self._causal = own if causal is None else causal
            self._is_users_layer = True
        else:
            self._is_users_layer = False
            self.body = make_body(config, causal, dtype=self.dtype_policy, name="body")
            self._causal = self.body.causal
        self._is_body = isinstance(self.body, Body)
        self._takes = inspect.signature(self.body.call).parameters
        self.supports_masking = True

    @property
    def causal(self):
        """bool. Whether a position sees only itself and earlier ones.

        `None` for a layer of the user's that does not say.
        """
        return self._causal

    @property
    def two_streams(self):
        """bool. Whether the block was built for calls with `visible`."""
        return getattr(self.body, "two_streams", False)

    def build(self, x_shape, visible_shape=None, times_shape=None):
        if visible_shape is not None and "visible" not in self._takes:
            raise ValueError(
                f"{type(self.body).__name__} cannot be told what is visible: "
                "PermutationLanguageModeling takes a body of two streams, XLNet."
            )
        if times_shape is not None and "times" not in self._takes:
            raise ValueError(
                f"{type(self.body).__name__} cannot be told the times of the events: "
                "leave times out, or take a body that reads them, HSTU."
            )
        if self.body.built:
            return
        if self._is_body:
            more = {"visible_shape": visible_shape, "times_shape": times_shape}
            more = {name: shape for name, shape in more.items() if shape is not None}
            self.body.build(x_shape, **more)
        else:
            # Of a layer without `build` only a call tells which variables it has.
            self._run_layer(**self._symbolic(x_shape, visible_shape, times_shape))

    def call(self, x, mask=None, visible=None, times=None, x_mask=None, training=None):
        # By this name Keras hands on what x carries, when called with more tensors.
        mask = x_mask if mask is None else mask
        given = {"visible": visible, "times": times}
        given = {name: value for name, value in given.items() if value is not None}
        if self._is_body:
            return self.body(x, mask=mask, training=training, **given)
        return self._run_layer(x, mask, **given)

    def _run_layer(self, x, mask=None, **given):
        """The user's layer, with padding kept out; `training` it gets from Keras."""
        if mask is not None:
            mask = ops.cast(mask, "bool")
            real = ops.expand_dims(mask, -1)
            x = ops.where(real, x, ops.zeros_like(x))
            if "mask" in self._takes:
                given["mask"] = mask
        with warnings.catch_warnings():
            # The block hands the mask on, whatever happens to it in the layer.
            warnings.filterwarnings(
                "ignore", "Layer .* was passed an input with a mask", UserWarning
            )
            y = self.body(x, **given)
        self._check_output(tuple(x.shape), tuple(getattr(y, "shape", ())))
        return y if mask is None else ops.where(real, y, ops.zeros_like(y))

    def _check_output(self, x_shape, y_shape):
        times = {shape[1] for shape in (x_shape, y_shape) if len(shape) == 3}
        if len(y_shape) != 3 or len(times - {None}) > 1:
            raise ValueError(
                f"The layer {self.body.name!r} in {self.name!r} returned {y_shape} for "
                f"events {x_shape}: it must return one vector for each event, "
                "(batch, time, width)."
            )

    def _symbolic(self, x_shape, visible_shape=None, times_shape=None):
        """Stand-ins for the arguments of a call."""
        shapes = {
            "x": (x_shape, self.compute_dtype),
            "mask": (x_shape[:2], "bool"),
            "visible": (visible_shape, "bool"),
            "times": (times_shape, "int32"),
        }
        return {
            name: keras.KerasTensor((None, *shape[1:]), dtype=dtype)
            for name, (shape, dtype) in shapes.items()
            if shape is not None
        }

    def compute_output_spec(self, *args, **kwargs):
        if self._is_body:
            return super().compute_output_spec(*args, **kwargs)
        # Of a layer without `compute_output_shape` only a call tells it.
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, x_shape, visible_shape=None, times_shape=None):
        if self._is_body:
            return tuple(self.body.compute_output_shape(x_shape))
        arguments = self._symbolic(x_shape, visible_shape, times_shape)
        return tuple(self.compute_output_spec(**arguments).shape)

    def get_config(self):
        if self._is_users_layer:
            config = keras.saving.serialize_keras_object(self.body)
            if self.built:
                # The block builds it. Keras would by `build`, which it may not have.
                config.pop("build_config", None)
        else:
            config = self.body.get_config()["config"]
        return {**super().get_config(), "config": config, "causal": self.causal}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if "class_name" in config["config"]:
            config["config"] = keras.saving.deserialize_keras_object(config["config"])
        return cls(**config)
