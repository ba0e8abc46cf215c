"""Llama: rotary positions, RMS norms before each branch, gated feed-forward."""

import keras
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.parts.attention.layer_windows import visible_by_window
from keras_t4r.bodies.parts.attention.rope import (
    RotaryAttention,
    rope_frequencies,
    rotary_table,
)
from keras_t4r.bodies.parts.blocks import PreNormBlock
from keras_t4r.bodies.parts.gated_feed_forward import GatedFeedForward, gated_width
from keras_t4r.bodies.parts.rms_norm import RMSNorm


@keras.saving.register_keras_serializable(package="keras_t4r")
class Llama(Body):
    """Llama's decoder, equal to Hugging Face's `LlamaModel(inputs_embeds=x)`.

    The events go as they are into pre-norm blocks, whose attention turns queries and
    keys by their places, and a last normalisation. Sequences may have any length.
    Keys and values may be fewer heads than queries. Causal unless
    `causal=False` or the config has `is_causal=False`.

    `Mistral`, `Qwen2` and `Qwen3` are this body with other answers to `biases`,
    `windows` and `make_attention`.

    Args:
        config: `transformers.LlamaConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Llama(LlamaConfig(hidden_size=64, num_attention_heads=4,
    ...     num_hidden_layers=2, intermediate_size=168))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [LLaMA](https://arxiv.org/abs/2302.13971),
        [The Llama 3 Herd of Models](https://arxiv.org/abs/2407.21783)
    """

    model_type = "llama"
    hf_prefix = "model."
    hf_ignored = (
        r"embed_tokens\.weight|lm_head\.weight|score\.weight"
        r"|(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq"
    )

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config, policy = self.config, self.dtype_policy
        self.d_head = getattr(config, "head_dim", None) or self.d_model // self.n_head
        self.frequencies = rope_frequencies(config, self.d_head)
        if self.n_head % config.num_key_value_heads:
            raise ValueError(
                f"{type(config).__name__}(num_key_value_heads="
                f"{config.num_key_value_heads!r}) is not supported: the {self.n_head} "
                "heads of queries are no multiple of them."
            )

        self.windows()  # Refuses what it cannot do.
        self.blocks = [
            PreNormBlock(
                self.make_attention(),
                GatedFeedForward(
                    self.d_model,
                    config.intermediate_size,
                    config.hidden_act,
                    use_bias=self.biases()["feed_forward"],
                    stddev=config.initializer_range,
                    dtype=policy,
                    name="feed_forward",
                ),
                dropout=0.0,
                epsilon=config.rms_norm_eps,
                norm=RMSNorm,
                dtype=policy,
                name=f"block_{i}",
            )
            for i in range(self.n_layer)
        ]
        self.norm = RMSNorm(epsilon=config.rms_norm_eps, dtype=policy, name="norm")

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        return {
            "hidden_size": d_model,
            "num_attention_heads": n_head,
            "num_key_value_heads": n_head,
            "num_hidden_layers": n_layer,
            "intermediate_size": gated_width(d_model),
            "max_position_embeddings": max_length + 1,
            # The only one that there is.
            "attention_dropout": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return getattr(self.config, "is_causal", True)

    def biases(self):
        """Which projections have a bias: `qkv`, `output` and `feed_forward`."""
        attention = self.config.attention_bias
        return {
            "qkv": attention,
            "output": attention,
            "feed_forward": self.config.mlp_bias,
        }

    def windows(self):
        """How far each block sees: what `within_window` takes; `None`: everything."""
        return [None] * self.n_layer

    def sliding_window(self):
        """The config's `sliding_window`, as `within_window` counts."""
        window = self.config.sliding_window
        # Hugging Face counts the query itself among those it sees, but not so where
        # a window reaches to both sides.
        return window if window is None or self.causal else window + 1

    def make_attention(self, kind=RotaryAttention, **options):
        """The attention of a block: a `kind`, which may have more `options`."""
        biases = self.biases()
        return kind(
            self.d_model,
            self.n_head,
            n_kv_head=self.config.num_key_value_heads,
            d_head=self.d_head,
            dropout=self.config.attention_dropout,
            use_bias=biases["qkv"],
            output_bias=biases["output"],
            stddev=self.config.initializer_range,
            dtype=self.dtype_policy,
            name="attention",
            **options,
        )

    def build_parts(self, shape):
        for block in self.blocks:
            block.build(shape)
        self.norm.build(shape)

    def encode(self, x, visible, training):
        length = ops.shape(x)[1]
        cos, sin = rotary_table(length, self.frequencies)
        windows = self.windows()
        visible = visible_by_window(visible, length, windows)
        for block, window in zip(self.blocks, windows, strict=True):
            x = block(x, visible=visible[window], cos=cos, sin=sin, training=training)
        return self.norm(x)

    def hf_layout(self):
        for i, block in enumerate(self.blocks):
            yield from self.hf_block_layout(block, f"layers.{i}")
        yield from hf_layout.norm(self.norm, "norm")

    def hf_block_layout(self, block, name):
        attention, forward = block.attention, block.feed_forward
        part, mlp = f"{name}.self_attn", f"{name}.mlp"
        yield from hf_layout.fused(attention.qkv, [f"{part}.{x}_proj" for x in "qkv"])
        yield from hf_layout.dense(attention.output_projection, f"{part}.o_proj")
        yield from hf_layout.norm(block.attention_norm, f"{name}.input_layernorm")
        yield from hf_layout.fused(
            forward.inner, [f"{mlp}.gate_proj", f"{mlp}.up_proj"]
        )
        yield from hf_layout.dense(forward.outer, f"{mlp}.down_proj")
        yield from hf_layout.norm(
            block.feed_forward_norm, f"{name}.post_attention_layernorm"
        )
