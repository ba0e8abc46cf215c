"""XLNet: relative positions only, normalised after each branch."""

import keras
import numpy as np
from keras import ops

from keras_t4r.bodies import hf_layout
from keras_t4r.bodies.blocks import PostNormBlock
from keras_t4r.bodies.body import Body
from keras_t4r.bodies.feed_forward import FeedForward
from keras_t4r.bodies.relative_attention import RelativeAttention, relative_encoding


@keras.saving.register_keras_serializable(package="keras_t4r")
class XLNet(Body):
    """XLNet's content stream, equal to Hugging Face's `XLNetModel(inputs_embeds=x)`.

    The events go as they are into post-norm blocks whose attention knows distances
    only, so that sequences may have any length. Two-directional
    (`attn_type="bi"`) or causal (`attn_type="uni"` or `causal=True`). No memory is
    carried from one batch to the next.

    In training, dropout on the encoding of the distances is drawn once for the
    batch rather than once for each of its rows: the encoding is then projected
    once as well.

    Args:
        config: `transformers.XLNetConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = XLNet(XLNetConfig(d_model=64, n_head=4, n_layer=2, d_inner=256))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [XLNet](https://arxiv.org/abs/1906.08237)
    """

    model_type = "xlnet"
    hf_prefix = "transformer."
    hf_ignored = (
        r"word_embedding\.weight|mask_emb|lm_loss\..*"
        r"|layer\.\d+\.rel_attn\.(seg_embed|r_s_bias)"
    )
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

    def config_is_causal(self):
        return self.config.attn_type == "uni"

    def build_parts(self, shape):
        for block in self.blocks:
            block.build(shape)

    def encode(self, x, bias, training):
        encoding = relative_encoding(
            ops.shape(x)[1], self.d_model, self.config.clamp_len
        )
        encoding = self.dropout(
            ops.cast(encoding, self.compute_dtype), training=training
        )
        x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(x, encoding=encoding, bias=bias, training=training)
        return self.dropout(x, training=training)

    def hf_layout(self):
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
