"""ModernBERT: rotary positions, norms before, blocks that see far and near by turns."""

import math

import keras
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.parts.attention.layer_windows import (
    layer_windows,
    visible_by_window,
)
from keras_t4r.bodies.parts.attention.rope import (
    RotaryAttention,
    rope_frequencies,
    rotary_table,
)
from keras_t4r.bodies.parts.blocks import PreNormBlock
from keras_t4r.bodies.parts.gated_feed_forward import GatedFeedForward, gated_width
from keras_t4r.bodies.parts.layer_norm import LayerNorm


@keras.saving.register_keras_serializable(package="keras_t4r")
class ModernBert(Body):
    """ModernBERT, equal to Hugging Face's `ModernBertModel(inputs_embeds=x)`.

    The events are normalised, pass through pre-norm blocks (of which the first need
    not normalise them again before its attention) and a last normalisation. By the
    config's `layer_types`, a block sees everything, or no more than
    `local_attention / 2` positions to either side; each type has its own rotary
    frequencies. Sequences may have any length. Two-directional unless `causal=True`,
    which Hugging Face's has no option for.

    Initial weights are normal, not cut off at `initializer_cutoff_factor`.

    Args:
        config: `transformers.ModernBertConfig`. In the short form `local_attention`
            is half of `max_length`.
        causal: bool. See `Body`.

    Example:

    >>> body = ModernBert(ModernBertConfig(hidden_size=64, num_attention_heads=4,
    ...     num_hidden_layers=3, intermediate_size=168, local_attention=10))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [ModernBERT](https://arxiv.org/abs/2412.13663)
    """

    model_type = "modernbert"
    hf_prefix = "model."
    hf_ignored = (
        r"embeddings\.tok_embeddings\.weight|head\..*|decoder\..*|classifier\..*"
    )

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config = self.config
        self.types = config.layer_types
        # As far as `local_attention / 2` on either side, that far included.
        self.windows = layer_windows(config, config.local_attention // 2 + 1)
        self.frequencies = {
            name: rope_frequencies(config, self.d_model // self.n_head, name)
            for name in dict.fromkeys(self.types)
        }

        self.norm = self.make_norm("norm")
        self.dropout = keras.layers.Dropout(
            config.embedding_dropout, dtype=self.dtype_policy
        )
        self.blocks = [self.make_block(i) for i in range(self.n_layer)]
        self.final_norm = self.make_norm("final_norm")

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        return {
            "hidden_size": d_model,
            "num_attention_heads": n_head,
            "num_hidden_layers": n_layer,
            "intermediate_size": gated_width(d_model),
            "max_position_embeddings": max_length + 1,
            "local_attention": max(2, max_length // 2),
            "embedding_dropout": dropout,
            "attention_dropout": dropout,
            "mlp_dropout": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return False

    def make_norm(self, name, **_):
        return LayerNorm(
            epsilon=self.config.norm_eps,
            center=self.config.norm_bias,
            dtype=self.dtype_policy,
            name=name,
        )

    def make_block(self, i):
        config, policy = self.config, self.dtype_policy
        stddev = config.initializer_range
        # The residual stream adds up 2 · n_layer branches.
        branch_stddev = stddev / math.sqrt(2 * self.n_layer)

        def norm(name, **_):
            if i == 0 and name == "attention_norm":
                return keras.layers.Identity(dtype=policy, name=name)
            return self.make_norm(name)

        return PreNormBlock(
            _Attention(
                self.d_model,
                self.n_head,
                dropout=config.attention_dropout,
                use_bias=config.attention_bias,
                stddev=stddev,
                output_stddev=branch_stddev,
                dtype=policy,
                name="attention",
            ),
            GatedFeedForward(
                self.d_model,
                config.intermediate_size,
                config.hidden_activation,
                use_bias=config.mlp_bias,
                inner_dropout=config.mlp_dropout,
                stddev=stddev,
                output_stddev=branch_stddev,
                dtype=policy,
                name="feed_forward",
            ),
            dropout=0.0,
            epsilon=config.norm_eps,
            norm=norm,
            dtype=policy,
            name=f"block_{i}",
        )

    def build_parts(self, shape):
        self.norm.build(shape)
        for block in self.blocks:
            block.build(shape)
        self.final_norm.build(shape)

    def encode(self, x, visible, training):
        length = ops.shape(x)[1]
        visible = visible_by_window(visible, length, self.windows)
        tables = {
            name: rotary_table(length, frequencies)
            for name, frequencies in self.frequencies.items()
        }
        x = self.dropout(self.norm(x), training=training)
        for block, name, window in zip(
            self.blocks, self.types, self.windows, strict=True
        ):
            cos, sin = tables[name]
            x = block(x, visible=visible[window], cos=cos, sin=sin, training=training)
        return self.final_norm(x)

    def hf_layout(self):
        yield from hf_layout.norm(self.norm, "embeddings.norm")
        for i, block in enumerate(self.blocks):
            attention, forward = block.attention, block.feed_forward
            name = f"layers.{i}"
            if i:
                yield from hf_layout.norm(block.attention_norm, f"{name}.attn_norm")
            yield from hf_layout.dense(attention.qkv, f"{name}.attn.Wqkv")
            yield from hf_layout.dense(attention.output_projection, f"{name}.attn.Wo")
            yield from hf_layout.norm(block.feed_forward_norm, f"{name}.mlp_norm")
            yield from hf_layout.dense(forward.inner, f"{name}.mlp.Wi")
            yield from hf_layout.dense(forward.outer, f"{name}.mlp.Wo")
        yield from hf_layout.norm(self.final_norm, "final_norm")


class _Attention(RotaryAttention):
    """Rotary attention whose rate of dropout is that of its outcome as well."""

    def __init__(self, *args, dropout=0.0, **kwargs):
        super().__init__(*args, dropout=dropout, **kwargs)
        self.outcome_dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def attend(self, scores, v, visible, training):
        outcome = super().attend(scores, v, visible, training)
        return self.outcome_dropout(outcome, training=training)
