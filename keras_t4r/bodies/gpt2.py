"""GPT-2: absolute positions, normalised before each branch and once at the end."""

import math

import keras

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.parts.attention.self_attention import SelfAttention
from keras_t4r.bodies.parts.blocks import PreNormBlock
from keras_t4r.bodies.parts.feed_forward import FeedForward
from keras_t4r.bodies.parts.layer_norm import LayerNorm
from keras_t4r.bodies.parts.positions import PositionEmbedding


@keras.saving.register_keras_serializable(package="keras_t4r")
class GPT2(Body):
    """GPT-2's decoder, equal to Hugging Face's `GPT2Model(inputs_embeds=x)`.

    Position embeddings are added to the events; then pre-norm blocks and a last
    normalisation. Causal unless `GPT2Config(is_causal=False)` or `causal=False`.

    Args:
        config: `transformers.GPT2Config`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = GPT2(GPT2Config(n_embd=64, n_head=4, n_layer=2, n_positions=20))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [Language Models are Unsupervised Multitask Learners](
        https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)
    """

    model_type = "gpt2"
    hf_prefix = "transformer."
    hf_ignored = r"wte\.weight|lm_head\.weight|h\.\d+\.attn\.(bias|masked_bias)"

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config, policy = self.config, self.dtype_policy
        self.max_length = config.n_positions
        stddev = config.initializer_range
        # The paper's scheme: the residual stream adds up 2 · n_layer branches.
        branch_stddev = stddev / math.sqrt(2 * self.n_layer)

        self.positions = PositionEmbedding(
            self.max_length, self.d_model, stddev, dtype=policy, name="positions"
        )
        self.dropout = keras.layers.Dropout(config.embd_pdrop, dtype=policy)
        self.blocks = [
            PreNormBlock(
                SelfAttention(
                    self.d_model,
                    self.n_head,
                    dropout=config.attn_pdrop,
                    scale=self.score_scale(i),
                    upcast=config.reorder_and_upcast_attn,
                    stddev=stddev,
                    output_stddev=branch_stddev,
                    dtype=policy,
                    name="attention",
                ),
                FeedForward(
                    self.d_model,
                    config.n_inner or 4 * self.d_model,
                    config.activation_function,
                    stddev=stddev,
                    output_stddev=branch_stddev,
                    dtype=policy,
                    name="feed_forward",
                ),
                dropout=config.resid_pdrop,
                epsilon=config.layer_norm_epsilon,
                dtype=policy,
                name=f"block_{i}",
            )
            for i in range(self.n_layer)
        ]
        self.norm = LayerNorm(
            epsilon=config.layer_norm_epsilon, dtype=policy, name="norm"
        )

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        return {
            "n_embd": d_model,
            "n_head": n_head,
            "n_layer": n_layer,
            "n_inner": 4 * d_model,
            "n_positions": max_length + 1,
            "embd_pdrop": dropout,
            "attn_pdrop": dropout,
            "resid_pdrop": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return getattr(self.config, "is_causal", True)

    def score_scale(self, block):
        """Factor of the attention scores in the `block`-th block, from 0."""
        scale = 1.0
        if self.config.scale_attn_weights:
            scale = (self.d_model // self.n_head) ** -0.5
        if self.config.scale_attn_by_inverse_layer_idx:
            scale /= block + 1
        return scale

    def build_parts(self, shape):
        self.positions.build(shape)
        for block in self.blocks:
            block.build(shape)
        self.norm.build(shape)

    def encode(self, x, visible, training):
        x = self.dropout(self.positions(x), training=training)
        for block in self.blocks:
            x = block(x, visible=visible, training=training)
        return self.norm(x)

    def hf_layout(self):
        yield from hf_layout.table(self.positions.table, "wpe.weight")
        for i, block in enumerate(self.blocks):
            for layer, name in (
                (block.attention.qkv, "attn.c_attn"),
                (block.attention.output_projection, "attn.c_proj"),
                (block.feed_forward.inner, "mlp.c_fc"),
                (block.feed_forward.outer, "mlp.c_proj"),
            ):
                yield from hf_layout.dense(layer, f"h.{i}.{name}", hf_layout.same)
            yield from hf_layout.norm(block.attention_norm, f"h.{i}.ln_1")
            yield from hf_layout.norm(block.feed_forward_norm, f"h.{i}.ln_2")
        yield from hf_layout.norm(self.norm, "ln_f")
