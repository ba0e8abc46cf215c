"""Reformer: attention by hashing or by neighbourhood, in two residual streams."""

import math

import keras
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.parts.attention.chunked_attention import LocalChunkAttention
from keras_t4r.bodies.parts.attention.lsh_attention import LSHAttention
from keras_t4r.bodies.parts.attention.visibility import what_is_visible
from keras_t4r.bodies.parts.axial_positions import AxialPositionEmbedding
from keras_t4r.bodies.parts.feed_forward import FeedForward
from keras_t4r.bodies.parts.layer_norm import LayerNorm
from keras_t4r.bodies.parts.positions import PositionEmbedding
from keras_t4r.bodies.parts.reversible_block import ReversibleBlock
from keras_t4r.bodies.reformer_config import (
    check_reformer_config,
    chunk_lengths,
    default_num_buckets,
    number_of_positions,
)


@keras.saving.register_keras_serializable(package="keras_t4r")
class Reformer(Body):
    """Reformer, equal to Hugging Face's `ReformerModel(inputs_embeds=x)`.

    Position embeddings, plain or axial, are added to the events; then blocks of two
    residual streams, whose attention is among like events (`"lsh"` in `attn_layers`)
    or among neighbours (`"local"`). The output is both streams side by side,
    normalised, so **twice as wide as the input**. Two-directional unless
    `ReformerConfig(is_decoder=True)` or `causal=True`.

    Each row comes out as Hugging Face's model gives it for that row alone, cut after
    its last real event; padding at the end of a row changes what Hugging Face's gives
    where it adds chunks. Besides:

    - The rotations that hash events are weights, drawn once (from `hash_seed`, if it
      is set), not trained, and saved. Hugging Face draws them at each call, so that
      its outputs vary. A checkpoint holds none.
    - `num_buckets=None` takes what suits the number of positions, whatever the
      length of the batch.
    - Causal with `"lsh"` layers, all positions must fit in one chunk
      (`lsh_attn_chunk_length`), where these layers are plain attention. Beyond that
      a later event moves earlier ones from chunk to chunk, and so changes what these
      see: in Hugging Face's model too.
    - No memory is saved in training: the streams are kept, not computed backwards.
    - In training, dropout within the feed-forward part is after the activation, which
      for `"relu"` is the same as before it.

    Args:
        config: `transformers.ReformerConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Reformer(session_config("reformer", d_model=64))
    >>> y = body(x, mask=mask)                      # (batch, time, 128)

    References:
        [Reformer](https://arxiv.org/abs/2001.04451)
    """

    model_type = "reformer"
    hf_prefix = "reformer."
    hf_ignored = (
        r"embeddings\.word_embeddings\.weight|lm_head\..*|classifier\..*|qa_outputs\..*"
    )

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config, policy = self.config, self.dtype_policy
        self.max_length = number_of_positions(config)
        check_reformer_config(config, self.causal)
        self.d_model = 2 * self.d_input
        self.chunk_lengths = chunk_lengths(config)

        if config.axial_pos_embds:
            self.positions = AxialPositionEmbedding(
                config.axial_pos_shape,
                config.axial_pos_embds_dim,
                config.hidden_dropout_prob,
                config.axial_norm_std,
                dtype=policy,
                name="positions",
            )
        else:
            self.positions = PositionEmbedding(
                self.max_length,
                self.d_input,
                config.initializer_range,
                dtype=policy,
                name="positions",
            )
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob, dtype=policy)
        self.blocks = [
            ReversibleBlock(
                self._attention(kind),
                FeedForward(
                    self.d_input,
                    config.feed_forward_size,
                    config.hidden_act,
                    inner_dropout=config.hidden_dropout_prob,
                    stddev=config.initializer_range,
                    dtype=policy,
                    name="feed_forward",
                ),
                dropout=config.hidden_dropout_prob,
                epsilon=config.layer_norm_eps,
                dtype=policy,
                name=f"block_{i}",
            )
            for i, kind in enumerate(config.attn_layers)
        ]
        self.norm = LayerNorm(epsilon=config.layer_norm_eps, dtype=policy, name="norm")

    def _attention(self, kind):
        config, given = self.config, {}
        if kind == "lsh":
            number = config.num_buckets or default_num_buckets(
                self.max_length, config.lsh_attn_chunk_length
            )
            given = {
                "num_buckets": (number,) if isinstance(number, int) else tuple(number),
                "rounds": config.num_hashes,
                "hash_seed": config.hash_seed,
            }
        return {"lsh": LSHAttention, "local": LocalChunkAttention}[kind](
            self.d_input,
            self.n_head,
            config.attention_head_size,
            getattr(config, f"{kind}_attn_chunk_length"),
            getattr(config, f"{kind}_num_chunks_before"),
            getattr(config, f"{kind}_num_chunks_after"),
            self.max_length,
            causal=self.causal,
            dropout=getattr(config, f"{kind}_attention_probs_dropout_prob"),
            stddev=config.initializer_range,
            dtype=self.dtype_policy,
            name="attention",
            **given,
        )

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        chunk_length = 8
        return {
            "hidden_size": d_model,
            "num_attention_heads": n_head,
            "attention_head_size": d_model // n_head,
            "attn_layers": [("local", "lsh")[i % 2] for i in range(n_layer)],
            "feed_forward_size": 4 * d_model,
            "max_position_embeddings": max_length + 1,
            "axial_pos_embds": False,
            "local_attn_chunk_length": chunk_length,
            "lsh_attn_chunk_length": chunk_length,
            "num_buckets": default_num_buckets(max_length + 1, chunk_length),
            "num_hashes": 2,
            "hidden_dropout_prob": dropout,
            "local_attention_probs_dropout_prob": dropout,
            "lsh_attention_probs_dropout_prob": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return self.config.is_decoder

    def build_parts(self, shape):
        self.positions.build(shape)
        for block in self.blocks:
            block.build(shape)
        self.norm.build((*shape[:-1], self.d_model))

    def make_visible(self, length, mask):
        # Who is in a chunk and what is past, the attentions themselves know.
        return what_is_visible(length, mask)

    def encode(self, x, visible, training):
        batch, time = ops.shape(x)[:2]
        if visible is None:
            visible = ops.ones((batch, 1, time), "bool")
        x, visible, span = self._whole_chunks(self._place(x, training), visible)
        attended = x
        for block in self.blocks:
            attended, x = block(
                attended, x, visible=visible, span=span, training=training
            )
        x = ops.concatenate([attended, x], axis=-1)[:, :time]
        return self.dropout(self.norm(x), training=training)

    def _place(self, x, training):
        """The events with their positions added; each of the two has dropout."""
        dropped = self.dropout(x, training=training)
        if self.config.axial_pos_embds:
            return self.positions(dropped, training=training)
        positions = self.positions(ops.zeros_like(x))
        return dropped + self.dropout(positions, training=training)

    def _whole_chunks(self, x, visible):
        """`x` and `visible`, filled up with padding, and how much of it rows need.

        A row's need depends on its last real event only, so that the length of the
        batch changes nothing.
        """
        batch, time = ops.shape(x)[:2]
        whole = math.lcm(*self.chunk_lengths)
        places = ops.arange(1, time + 1, dtype="int32")
        length = ops.max(ops.where(visible, places, 1), axis=(1, 2))
        span = ops.floor_divide(length + whole - 1, whole) * whole
        known = time if isinstance(time, int) else self.max_length
        if known > min(self.chunk_lengths):
            more = -time % whole
            x = ops.concatenate(
                [x, ops.zeros((batch, more, self.d_input), x.dtype)], axis=1
            )
            padding = ops.zeros((batch, 1, more), "bool")
            visible = ops.concatenate([visible, padding], axis=2)
        return x, visible, span

    def hf_layout(self):
        name = "embeddings.position_embeddings"
        if self.config.axial_pos_embds:
            for i, table in enumerate((self.positions.rows, self.positions.columns)):
                yield (
                    table,
                    [f"{name}.weights.{i}"],
                    lambda x: x.reshape(-1, x.shape[-1]),
                )
        else:
            yield from hf_layout.table(self.positions.table, f"{name}.embedding.weight")
        for i, (kind, block) in enumerate(
            zip(self.config.attn_layers, self.blocks, strict=True)
        ):
            yield from self._hf_block_layout(kind, block, f"encoder.layers.{i}")
        yield from hf_layout.norm(self.norm, "encoder.layer_norm")

    def _hf_block_layout(self, kind, block, name):
        attention, forward = block.attention, block.feed_forward
        parts = {"lsh": ("query_key", "value"), "local": ("query", "key", "value")}
        names = [f"{name}.attention.self_attention.{part}" for part in parts[kind]]
        yield from hf_layout.norm(block.attention_norm, f"{name}.attention.layer_norm")
        yield from hf_layout.fused(attention.projection, names)
        yield from hf_layout.dense(
            attention.output_projection, f"{name}.attention.output.dense"
        )
        name = f"{name}.feed_forward"
        yield from hf_layout.norm(block.feed_forward_norm, f"{name}.layer_norm")
        yield from hf_layout.dense(forward.inner, f"{name}.dense.dense")
        yield from hf_layout.dense(forward.outer, f"{name}.output.dense")
