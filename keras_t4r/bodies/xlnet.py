"""XLNet: relative positions only, normalised after each branch; two streams."""

import keras
import numpy as np
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.parts.attention.relative_attention import (
    RelativeAttention,
    relative_encoding,
)
from keras_t4r.bodies.parts.blocks import PostNormBlock
from keras_t4r.bodies.parts.feed_forward import FeedForward


@keras.saving.register_keras_serializable(package="keras_t4r")
class XLNet(Body):
    """XLNet, equal to Hugging Face's `XLNetModel(inputs_embeds=x)`.

    The events go as they are into post-norm blocks whose attention knows distances
    only, so that sequences may have any length. Two-directional
    (`attn_type="bi"`) or causal (`attn_type="uni"` or `causal=True`). No memory is
    carried from one batch to the next.

    Called with `visible`, it runs two streams, for permutation language modeling. The
    content stream knows what each event is, and sees what is visible and itself. The
    query stream starts from one learnt vector, reads the content stream's keys and
    values where they are visible, never its own event's, and is what comes out. A
    query that sees nothing attends to nothing; Hugging Face's attends to all alike,
    its own event included.

    In training, dropout on the encoding of the distances is drawn once for the
    batch rather than once for each of its rows: the encoding is then projected
    once as well.

    Args:
        config: `transformers.XLNetConfig`.
        causal: bool. Overrides the config; see `Body`.

    Call arguments:
        x, mask, training: as of `Body`.
        visible: bool `(batch, time, time)`. Which event `j` position `i` sees. Padding
            is hidden whatever it says. A body of two streams is always called with it.

    Example:

    >>> body = XLNet(XLNetConfig(d_model=64, n_head=4, n_layer=2, d_inner=256))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [XLNet](https://arxiv.org/abs/1906.08237)
    """

    model_type = "xlnet"
    hf_prefix = "transformer."
    refused = {
        "attn_type": (("bi", "uni"), 'attention is "bi" or "uni"'),
        "bi_data": (
            (False,),
            "it would read half of each batch backwards",
        ),
        "same_length": (
            (False,),
            "it needs the memory of earlier batches, which the body does not keep",
        ),
        "use_mems_train": ((False,), "no memory of earlier batches is kept"),
        "reuse_len": ((None, 0), "no memory of earlier batches is kept"),
        "untie_r": ((True,), "every block has its own position biases"),
    }

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config, policy = self.config, self.dtype_policy
        self.query_embedding = None

        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.blocks = [
            PostNormBlock(
                RelativeAttention(
                    self.d_model,
                    self.n_head,
                    dropout=config.dropout,
                    stddev=config.initializer_range,
                    dtype=policy,
                    name="attention",
                ),
                FeedForward(
                    self.d_model,
                    config.d_inner,
                    config.ff_activation,
                    inner_dropout=config.dropout,
                    stddev=config.initializer_range,
                    dtype=policy,
                    name="feed_forward",
                ),
                dropout=config.dropout,
                epsilon=config.layer_norm_eps,
                dtype=policy,
                name=f"block_{i}",
            )
            for i in range(self.n_layer)
        ]

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        # Distances have no limit, so neither have lengths.
        return {
            "d_model": d_model,
            "n_head": n_head,
            "n_layer": n_layer,
            "d_inner": 4 * d_model,
            "dropout": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return self.config.attn_type == "uni"

    @property
    def hf_ignored(self):
        ignored = (
            r"word_embedding\.weight|lm_loss\..*"
            r"|layer\.\d+\.rel_attn\.(seg_embed|r_s_bias)"
        )
        return ignored if self.two_streams else ignored + "|mask_emb"

    @property
    def two_streams(self):
        """bool. Whether the body was built for calls with `visible`."""
        return self.query_embedding is not None

    def build(self, x_shape, visible_shape=None):
        if visible_shape is not None:
            if self.causal:
                raise ValueError(
                    "XLNet runs two streams in the order that `visible` says, so it "
                    'cannot be causal as well: leave causal out, and attn_type at "bi".'
                )
            self.query_embedding = self.add_weight(
                shape=(self.d_model,),
                initializer=keras.initializers.RandomNormal(
                    stddev=self.config.initializer_range
                ),
                name="query_embedding",
            )
        super().build(x_shape)

    def build_parts(self, shape):
        for block in self.blocks:
            block.build(shape)

    def call(self, x, mask=None, visible=None, x_mask=None, training=None):
        # By this name Keras hands on what x carries, when called with more tensors.
        mask = x_mask if mask is None else mask
        if (visible is not None) != self.two_streams:
            raise ValueError(
                "XLNet was built for one stream and called with `visible`, or for two "
                "and called without: its weights are those of its first call."
            )
        if visible is None:
            return self.run(x, mask, training)
        return self.run(x, mask, training, order=ops.cast(visible, "bool"))

    def encode(self, x, visible, training, order=None):
        batch, length = ops.shape(x)[:2]
        seen = {"visible": visible}
        if order is not None:
            x = ops.concatenate([x, self._queries(batch, length, x.dtype)])
            seen = self._visible_in_order(visible, order, length)
        encoding = relative_encoding(length, self.d_model, self.config.clamp_len)
        encoding = self.dropout(
            ops.cast(encoding, self.compute_dtype), training=training
        )
        x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(x, encoding=encoding, training=training, **seen)
        if order is not None:
            _, x = ops.split(x, 2)
        return self.dropout(x, training=training)

    def _queries(self, batch, length, dtype):
        vector = ops.cast(self.query_embedding, dtype)
        return ops.broadcast_to(vector, (batch, length, self.d_model))

    def _visible_in_order(self, visible, order, length):
        """What events see, which know themselves, and what queries see."""
        own = ops.expand_dims(ops.eye(length, dtype="bool"), 0)
        seen = {"visible": ops.logical_or(order, own), "query_visible": order}
        if visible is None:
            return seen
        return {name: ops.logical_and(visible, x) for name, x in seen.items()}

    def hf_layout(self):
        if self.two_streams:
            yield self.query_embedding, ["mask_emb"], np.ravel
        for i, block in enumerate(self.blocks):
            attention, forward = block.attention, block.feed_forward
            part = f"layer.{i}.rel_attn"
            qkv = [f"{part}.{x}" for x in "qkv"]
            yield attention.qkv.kernel, qkv, _flat_and_joined
            yield (
                attention.output_projection.kernel,
                [f"{part}.o"],
                lambda x: _flat(x).T,
            )
            yield attention.relative_kernel, [f"{part}.r"], _flat
            yield from hf_layout.table(attention.content_bias, f"{part}.r_w_bias")
            yield from hf_layout.table(attention.position_bias, f"{part}.r_r_bias")
            yield from hf_layout.norm(block.attention_norm, f"{part}.layer_norm")
            yield from hf_layout.dense(forward.inner, f"layer.{i}.ff.layer_1")
            yield from hf_layout.dense(forward.outer, f"layer.{i}.ff.layer_2")
            yield from hf_layout.norm(
                block.feed_forward_norm, f"layer.{i}.ff.layer_norm"
            )


def _flat(x):
    """`(d_model, n_head, d_head)`, as q, k, v, r and o are, with the heads joined."""
    return x.reshape(x.shape[0], -1)


def _flat_and_joined(*arrays):
    return np.concatenate([_flat(x) for x in arrays], axis=1)
