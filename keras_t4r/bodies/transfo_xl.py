"""Transformer-XL: relative positions, without its memory of earlier segments."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.body_config import BodyConfig
from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.huggingface.config_checks import check_fields
from keras_t4r.bodies.parts.attention.relative_attention import (
    RelativeAttention,
    relative_encoding,
)
from keras_t4r.bodies.parts.blocks import PostNormBlock, PreNormBlock
from keras_t4r.bodies.parts.feed_forward import FeedForward


@dataclasses.dataclass
class TransfoXLConfig(BodyConfig):
    """Sizes and options of `TransfoXL`, named as in Hugging Face's former config.

    Attributes:
        d_model: int. Width of the events; an even number.
        n_head: int. Number of attention heads.
        d_head: int. Width of a head; `None`: `d_model / n_head`.
        d_inner: int. Inner width of the feed-forward parts; `None`: `4 · d_model`.
        n_layer: int. Number of blocks.
        dropout: float. Rate on the events, the distances, the outputs and in each
            block.
        dropatt: float. Rate on the attention weights.
        pre_lnorm: bool. Whether the normalisations stand before each branch.
        clamp_len: int. Events farther apart count as so far apart; 0 or less: no
            limit.
        untie_r: bool. Whether each block has its own two biases of the attention, or
            all share theirs.
        layer_norm_epsilon: float. Of all layer normalisations.
        initializer_range: float. Standard deviation of the initial weights, which
            Hugging Face's config calls `init_std`.
        mem_len, same_length, attn_type: of Hugging Face's checkpoints. Only 0, False
            and 0 are supported.
    """

    model_type: ClassVar[str] = "transfo-xl"

    d_model: int = 64
    n_head: int = 4
    d_head: int | None = None
    d_inner: int | None = None
    n_layer: int = 2
    dropout: float = 0.1
    dropatt: float = 0.0
    pre_lnorm: bool = False
    clamp_len: int = -1
    untie_r: bool = True
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    mem_len: int = 0
    same_length: bool = False
    attn_type: int = 0

    def __post_init__(self):
        given = [x for x in ("d_head", "d_inner") if getattr(self, x) is not None]
        check_fields(
            self,
            sizes=("d_model", "n_head", "n_layer", *given),
            rates=("dropout", "dropatt"),
            positive=("layer_norm_epsilon", "initializer_range"),
            switches=("pre_lnorm", "untie_r"),
        )
        if self.d_model % 2:
            raise ValueError(
                f"TransfoXLConfig(d_model={self.d_model}): it must be even, for "
                "distances are encoded by as many sines as cosines."
            )

    @property
    def hidden_size(self):
        return self.d_model

    @property
    def num_attention_heads(self):
        return self.n_head

    @property
    def num_hidden_layers(self):
        return self.n_layer

    @property
    def head_dim(self):
        return self.d_head


@keras.saving.register_keras_serializable(package="keras_t4r")
class TransfoXL(Body):
    """Transformer-XL, equal to Hugging Face's former `TransfoXLModel` without memory.

    The events go into blocks whose attention knows distances only, so that sequences
    may have any length. Sessions are independent, so nothing is kept from one batch
    to the next. Causal unless `causal=False`: the encoding tells past from future.

    In training, dropout on the encoding of the distances is drawn once for the
    batch, as in XLNet.

    Args:
        config: `TransfoXLConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = TransfoXL(TransfoXLConfig(d_model=64, n_head=4, n_layer=2))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [Transformer-XL](https://arxiv.org/abs/1901.02860)
    """

    model_type = "transfo-xl"
    hf_prefix = "transformer."
    refused = {
        "mem_len": ((0,), "no memory of earlier batches is kept"),
        "same_length": (
            (False,),
            "it needs the memory of earlier batches, which the body does not keep",
        ),
        "attn_type": ((0,), "attention is Transformer-XL's own, type 0"),
    }

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config, policy = self.config, self.dtype_policy
        block = PreNormBlock if config.pre_lnorm else PostNormBlock

        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.blocks = [
            block(
                RelativeAttention(
                    self.d_model,
                    self.n_head,
                    d_head=config.d_head,
                    dropout=config.dropatt,
                    stddev=config.initializer_range,
                    own_biases=config.untie_r,
                    dtype=policy,
                    name="attention",
                ),
                FeedForward(
                    self.d_model,
                    config.d_inner or 4 * self.d_model,
                    "relu",
                    inner_dropout=config.dropout,
                    stddev=config.initializer_range,
                    dtype=policy,
                    name="feed_forward",
                ),
                dropout=config.dropout,
                epsilon=config.layer_norm_epsilon,
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
            "dropatt": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return True

    def build_parts(self, shape):
        if not self.config.untie_r:
            d_head = self.config.d_head or self.d_model // self.n_head
            self.shared_biases = self.add_weight(
                shape=(2, self.n_head, d_head),
                initializer=keras.initializers.RandomNormal(
                    stddev=self.config.initializer_range
                ),
                name="shared_biases",
            )
        for block in self.blocks:
            block.build(shape)

    def encode(self, x, visible, training):
        given = {"visible": visible}
        if not self.config.untie_r:
            given["biases"] = ops.convert_to_tensor(self.shared_biases)
        length = ops.shape(x)[1]
        encoding = relative_encoding(length, self.d_model, self.config.clamp_len)
        given["encoding"] = self.dropout(
            ops.cast(encoding, self.compute_dtype), training=training
        )
        x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(x, training=training, **given)
        return self.dropout(x, training=training)

    @property
    def hf_ignored(self):
        ignored = r"word_emb\..*|pos_emb\.inv_freq|crit\..*"
        if self.config.untie_r:
            return ignored
        # Shared, and yet listed once more in each block.
        return ignored + r"|layers\.\d+\.dec_attn\.r_[rw]_bias"

    def hf_layout(self):
        if not self.config.untie_r:
            yield self.shared_biases, ["r_w_bias", "r_r_bias"], _stacked
        for i, block in enumerate(self.blocks):
            attention, forward = block.attention, block.feed_forward
            part, core = f"layers.{i}.dec_attn", f"layers.{i}.pos_ff.CoreNet"
            yield from hf_layout.dense(attention.qkv, f"{part}.qkv_net")
            yield from hf_layout.dense(attention.output_projection, f"{part}.o_net")
            yield attention.relative_kernel, [f"{part}.r_net.weight"], hf_layout.turned
            if self.config.untie_r:
                yield from hf_layout.table(attention.content_bias, f"{part}.r_w_bias")
                yield from hf_layout.table(attention.position_bias, f"{part}.r_r_bias")
            yield from hf_layout.norm(block.attention_norm, f"{part}.layer_norm")
            yield from hf_layout.dense(forward.inner, f"{core}.0")
            yield from hf_layout.dense(forward.outer, f"{core}.3")
            yield from hf_layout.norm(
                block.feed_forward_norm, f"layers.{i}.pos_ff.layer_norm"
            )


def _stacked(*arrays):
    return np.stack(arrays)
