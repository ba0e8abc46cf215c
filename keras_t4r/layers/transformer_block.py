"""A transformer, or any Keras layer, as the sequence part of a model."""

import inspect

import keras

from keras_t4r.bodies.registry import make_body


@keras.saving.register_keras_serializable(package="keras_t4r")
class TransformerBlock(keras.layers.Layer):
    """Turns event vectors into contextual vectors.

    The architecture is the one that `config` describes, with the numerics of Hugging
    Face's models and their options; `keras_t4r.bodies.BODIES` lists them, and
    `session_config` makes their configs of a few sizes. Padded events change
    nothing: they are hidden from the others, and their outputs are zeros.

    Args:
        config: a Hugging Face config, such as `transformers.XLNetConfig`, or one of
            this package's, such as `SASRecConfig`; or a Keras layer that maps
            `(batch, time, d_model)` to `(batch, time, width)`, `load_hf_body`'s among
            them. If its `call` takes a `mask`, it is handed on.
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
            not do, or the input is of another width or longer than its positions.

    Example:

    >>> block = keras_t4r.TransformerBlock(
    ...     transformers.XLNetConfig(d_model=64, n_head=4, n_layer=2, d_inner=256))
    >>> y = block(x, mask=mask)                     # (batch, time, 64)
    """

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(**kwargs)
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
        if not self.body.built:
            more = {"visible_shape": visible_shape, "times_shape": times_shape}
            more = {name: shape for name, shape in more.items() if shape is not None}
            self.body.build(x_shape, **more)

    def call(self, x, mask=None, visible=None, times=None, x_mask=None, training=None):
        # By this name Keras hands on what x carries, when called with more tensors.
        mask = x_mask if mask is None else mask
        given = {"mask": mask, "training": training} if "mask" in self._takes else {}
        if visible is not None:
            given["visible"] = visible
        if times is not None:
            given["times"] = times
        return self.body(x, **given)

    def compute_output_shape(self, x_shape, visible_shape=None, times_shape=None):
        return tuple(self.body.compute_output_shape(x_shape))

    def get_config(self):
        if self._is_users_layer:
            config = keras.saving.serialize_keras_object(self.body)
        else:
            config = self.body.get_config()["config"]
        return {**super().get_config(), "config": config, "causal": self.causal}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if "class_name" in config["config"]:
            config["config"] = keras.saving.deserialize_keras_object(config["config"])
        return cls(**config)
