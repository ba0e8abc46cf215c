"""What all bodies have in common."""

import copy

import keras
from keras import ops

from keras_t4r import backend
from keras_t4r.arguments import optional, truth
from keras_t4r.bodies.huggingface.config_data import (
    config_from_dict,
    config_to_dict,
    refuse_options,
)
from keras_t4r.bodies.parts.attention.visibility import what_is_visible
from keras_t4r.bodies.registry import register_body
from keras_t4r.quantization import KeepsQuantization


class Body(KeepsQuantization, keras.layers.Layer):
    """Base of the architectures: event vectors in, contextual vectors out.

    A subclass makes its sublayers in `__init__`, builds them in `build_parts`,
    computes in `encode`, and names in `hf_layout` the checkpoint's parameters of each
    weight. This class checks the config and the input, keeps padding out, and saves
    and restores. `TransformerBlock` and `session_config` find a subclass, one's own
    too, by its `model_type`.

    Padding is nothing: padded events come in as zeros whatever they hold, no real
    event sees them, and they go out as zeros.

    Args:
        config: a Hugging Face config object, or the dict that `get_config` made of
            one.
        causal: bool. Whether a position sees only itself and earlier ones. `None`
            takes what the config says.

    Call arguments:
        x: `(batch, time, d_input)`. What Hugging Face calls `inputs_embeds`; as wide
            as the output, `d_model`, but for architectures that factorise it.
        mask: bool `(batch, time)`, True for real events; by keyword. `None` takes
            the mask that `x` carries, and if there is none every event is real.
        training: bool. Whether dropout is active.

    Returns:
        A tensor `(batch, time, d_model)`, which carries the mask.
    """

    # `model_type` of the configs that the body is made from.
    model_type = None
    # What a config may ask for and the body does not do; see `refuse_options`.
    refused = {}
    # Under which name checkpoints of models with a head keep the body, and what they
    # hold that a body does not (a pattern): token embeddings, pretraining heads,
    # buffers.
    hf_prefix = ""
    hf_ignored = ""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "model_type" in vars(cls):
            register_body(cls)

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, dict):
            config = config_from_dict(config)
        if getattr(config, "model_type", None) != self.model_type:
            raise ValueError(
                f"{type(self).__name__} is made from a config of model_type "
                f"{self.model_type!r}, not from {config!r}."
            )
        refuse_options(config, _REFUSED | self.refused)
        # A copy, so that what is saved is what was built.
        self.config = copy.deepcopy(config)
        self.d_model = config.hidden_size
        self.d_input = self.d_model
        self.n_head = config.num_attention_heads
        self.n_layer = config.num_hidden_layers
        if self.d_model % self.n_head and not getattr(config, "head_dim", None):
            raise ValueError(
                f"{type(config).__name__}: the width {self.d_model} is no multiple of "
                f"the {self.n_head} attention heads."
            )
        causal = optional(truth, "causal", causal)
        self._causal = self.config_is_causal() if causal is None else causal
        # Number of positions that the body has embeddings for; None: no limit.
        self.max_length = None
        self.supports_masking = True

    @property
    def causal(self):
        """bool. Whether a position sees only itself and earlier ones."""
        return self._causal

    def config_is_causal(self):
        """Whether the config asks for causal attention."""
        raise NotImplementedError

    def build_parts(self, shape):
        """Builds the sublayers for inputs of `shape`."""
        raise NotImplementedError

    def encode(self, x, visible, training):
        """Computes the outputs; `visible` is what `make_visible` returned."""
        raise NotImplementedError

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        """The config's fields for sessions of such sizes; see `session_config`."""
        raise NotImplementedError

    def hf_layout(self):
        """Yields `(variable, names, convert)` for each weight.

        See `huggingface/layout.py`.
        """
        raise ValueError(f"{type(self).__name__} is no Hugging Face architecture.")

    def build(self, input_shape):
        if input_shape[-1] != self.d_input:
            raise ValueError(
                f"{type(self).__name__} works on vectors of width {self.d_input} (by "
                f"its config), but its input has width {input_shape[-1]}: make the two "
                "equal."
            )
        self.build_parts(input_shape)

    def call(self, x, mask=None, training=None):
        return self.run(x, mask, training)

    def run(self, x, mask, training, **given):
        """`encode`, with padding kept out; `given` is handed on to it."""
        x = self._check_length(x)
        length = ops.shape(x)[1]
        if mask is not None:
            mask = ops.cast(mask, "bool")
        visible = self.make_visible(length, mask)
        if mask is None:
            return self.encode(x, visible, training, **given)
        real = ops.expand_dims(mask, -1)
        x = ops.where(real, x, ops.zeros_like(x))
        y = self.encode(x, visible, training, **given)
        return ops.where(real, y, ops.zeros_like(y))

    def make_visible(self, length, mask):
        """Which key each query of the body's attention sees.

        Bool, broadcasts to `(batch, time, time)`; `None`: each sees all. A body whose
        parts know by themselves what is past asks `what_is_visible` for the mask alone.
        """
        return what_is_visible(length, mask, self.causal)

    def _check_length(self, x):
        """`x`, refused where it has more events than the body has positions."""
        if self.max_length is None:
            return x
        length = ops.shape(x)[1]
        limit = (
            f"{type(self).__name__} has {self.max_length} positions, but the input "
            "has {} events: keep the newest, or raise the number of positions in the "
            "config."
        )
        if isinstance(length, int):
            if length > self.max_length:
                raise ValueError(limit.format(length))
            return x
        return backend.after_check_at_most(
            x, length, self.max_length, limit.format("more")
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.d_model)

    def get_config(self):
        config = {"config": config_to_dict(self.config), "causal": self.causal}
        return {**super().get_config(), **config}


_REFUSED = {
    "add_cross_attention": ((False,), "there is no second sequence to attend to"),
    "is_encoder_decoder": ((False,), "a body is an encoder or a decoder, not both"),
    "chunk_size_feed_forward": ((0,), "the feed-forward part is not chunked"),
}
