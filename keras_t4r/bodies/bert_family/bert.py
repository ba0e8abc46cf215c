"""BERT: absolute positions, normalised after each branch."""

import keras
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.parts.attention.self_attention import SelfAttention
from keras_t4r.bodies.parts.blocks import PostNormBlock
from keras_t4r.bodies.parts.dense import Dense
from keras_t4r.bodies.parts.feed_forward import FeedForward
from keras_t4r.bodies.parts.layer_norm import LayerNorm
from keras_t4r.bodies.parts.positions import PositionEmbedding

# What checkpoints hold of token embeddings and of buffers (a pattern).
TOKENS = r"embeddings\.(word_embeddings\.weight|position_ids|token_type_ids)"


@keras.saving.register_keras_serializable(package="keras_t4r")
class Bert(Body):
    """BERT's encoder, equal to Hugging Face's `BertModel(inputs_embeds=x)`.

    Position and (first) token-type embeddings are added to the events and
    normalised; then post-norm blocks. Two-directional unless
    `BertConfig(is_decoder=True)` or `causal=True`.

    Args:
        config: `transformers.BertConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Bert(BertConfig(hidden_size=64, num_attention_heads=4,
    ...     num_hidden_layers=2, intermediate_size=256))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [BERT](https://arxiv.org/abs/1810.04805),
        [BERT4Rec](https://arxiv.org/abs/1904.06690)
    """

    model_type = "bert"
    hf_prefix = "bert."
    hf_ignored = TOKENS + r"|pooler\..*|cls\..*"
    refused = {
        "position_embedding_type": (("absolute",), "positions are absolute"),
    }
    block_class = PostNormBlock
    # The checkpoint's name of the projection, where there is one.
    hf_projection = None

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config, policy = self.config, self.dtype_policy
        self.d_input = self.width_of_events()
        self.max_length = config.max_position_embeddings - self.first_position()

        self.positions = PositionEmbedding(
            self.max_length,
            self.d_input,
            config.initializer_range,
            dtype=policy,
            name="positions",
        )
        self.norm = LayerNorm(epsilon=config.layer_norm_eps, dtype=policy, name="norm")
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob, dtype=policy)
        self.projection = None
        if self.has_projection():
            self.projection = Dense(
                self.d_model,
                kernel_initializer=keras.initializers.RandomNormal(
                    stddev=config.initializer_range
                ),
                dtype=policy,
                name="projection",
            )
        self.blocks = [self.make_block(i) for i in range(self.n_blocks())]

    # What sets the architectures that follow BERT apart from it.

    def width_of_events(self):
        """Width of the input, and of what is added to it."""
        return self.d_model

    def first_position(self):
        """Which row of the checkpoint's position table the first event takes."""
        return 0

    def has_projection(self):
        """Whether events are projected to `d_model` before the blocks."""
        return self.d_input != self.d_model

    def n_blocks(self):
        """Number of blocks that have weights of their own."""
        return self.n_layer

    def make_attention(self, i, **parts):
        """The attention of the `i`-th block."""
        return SelfAttention(self.d_model, self.n_head, **parts)

    def make_block(self, i):
        config, policy = self.config, self.dtype_policy
        return self.block_class(
            self.make_attention(
                i,
                dropout=config.attention_probs_dropout_prob,
                stddev=config.initializer_range,
                dtype=policy,
                name="attention",
            ),
            FeedForward(
                self.d_model,
                config.intermediate_size,
                config.hidden_act,
                stddev=config.initializer_range,
                dtype=policy,
                name="feed_forward",
            ),
            dropout=config.hidden_dropout_prob,
            epsilon=config.layer_norm_eps,
            dtype=policy,
            name=f"block_{i}",
        )

    def path(self):
        """The blocks in the order in which events pass through them."""
        return self.blocks

    def hf_block_name(self, i):
        """The checkpoint's name of the `i`-th block."""
        return f"encoder.layer.{i}"

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        return {
            "hidden_size": d_model,
            "num_attention_heads": n_head,
            "num_hidden_layers": n_layer,
            "intermediate_size": 4 * d_model,
            "max_position_embeddings": max_length + 1,
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return self.config.is_decoder

    def build_parts(self, shape):
        self.token_type = self.add_weight(
            shape=(self.d_input,),
            initializer=keras.initializers.RandomNormal(
                stddev=self.config.initializer_range
            ),
            name="token_type",
        )
        self.positions.build(shape)
        self.norm.build(shape)
        if self.projection is not None:
            self.projection.build(shape)
        shape = (*shape[:-1], self.d_model)
        for block in self.blocks:
            block.build(shape)

    def encode(self, x, visible, training):
        x = self.positions(x) + ops.convert_to_tensor(self.token_type)
        x = self.dropout(self.norm(x), training=training)
        if self.projection is not None:
            x = self.projection(x)
        for block in self.path():
            x = block(x, visible=visible, training=training)
        return x

    def hf_layout(self):
        name, first = "embeddings.position_embeddings.weight", self.first_position()
        yield self.positions.table, [name], lambda x: x[first:]
        # Every event is of the first type.
        name = "embeddings.token_type_embeddings.weight"
        yield self.token_type, [name], lambda x: x[0]
        yield from hf_layout.norm(self.norm, "embeddings.LayerNorm")
        if self.projection is not None:
            yield from hf_layout.dense(self.projection, self.hf_projection)
        for i, block in enumerate(self.blocks):
            yield from self.hf_block_layout(block, self.hf_block_name(i))

    def hf_block_layout(self, block, name):
        attention, forward = block.attention, block.feed_forward
        qkv = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        output = f"{name}.attention.output"
        yield from hf_layout.fused(attention.qkv, qkv)
        yield from hf_layout.dense(attention.output_projection, f"{output}.dense")
        yield from hf_layout.norm(block.attention_norm, f"{output}.LayerNorm")
        yield from hf_layout.dense(forward.inner, f"{name}.intermediate.dense")
        yield from hf_layout.dense(forward.outer, f"{name}.output.dense")
        yield from hf_layout.norm(block.feed_forward_norm, f"{name}.output.LayerNorm")
