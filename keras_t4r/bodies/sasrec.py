"""SASRec: self-attention for sequential recommendation, as first published."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.body_config import BodyConfig
from keras_t4r.bodies.huggingface.config_checks import check_fields
from keras_t4r.bodies.parts.attention.dot_product_attention import DotProductAttention
from keras_t4r.bodies.parts.dense import Dense
from keras_t4r.bodies.parts.feed_forward import FeedForward
from keras_t4r.bodies.parts.layer_norm import LayerNorm
from keras_t4r.bodies.parts.positions import PositionEmbedding


@dataclasses.dataclass
class SASRecConfig(BodyConfig):
    """Sizes and options of `SASRec`.

    Attributes:
        hidden_size: int. Width of the events.
        num_attention_heads: int. Number of attention heads; the paper has one.
        num_hidden_layers: int. Number of blocks.
        max_position_embeddings: int. The most events of a sequence.
        dropout: float. Rate on the events, the attention weights and in the
            feed-forward parts.
        scale: bool. Whether the events are multiplied by `sqrt(hidden_size)` before
            the positions are added. The authors' code does so for its item table,
            whose first values are small; the events of this package come in at a
            scale of their own, so it is left out unless asked for.
        layer_norm_eps: float. Of all layer normalisations.
        initializer_range: float. Standard deviation of the initial weights.
    """

    model_type: ClassVar[str] = "sasrec"

    hidden_size: int = 64
    num_attention_heads: int = 1
    num_hidden_layers: int = 2
    max_position_embeddings: int = 50
    dropout: float = 0.2
    scale: bool = False
    layer_norm_eps: float = 1e-8
    initializer_range: float = 0.02

    def __post_init__(self):
        check_fields(
            self,
            sizes=(
                "hidden_size",
                "num_attention_heads",
                "num_hidden_layers",
                "max_position_embeddings",
            ),
            rates=("dropout",),
            positive=("layer_norm_eps", "initializer_range"),
            switches=("scale",),
        )


@keras.saving.register_keras_serializable(package="keras_t4r")
class SASRec(Body):
    """SASRec, as the authors' code computes it.

    Learnt positions are added to the events; then, with layer normalisations `N`,

    ```
    q = N(x)
    y = q + softmax(Wq q · (Wk x)ᵀ / sqrt(d_head)) · Wv x
    z = N(y)
    x = z + W₂ relu(W₁ z + b₁) + b₂
    ```

    in each block, and a last normalisation. Keys and values come from the events as
    they are, the residuals are the normalised ones, and the heads are joined without
    a projection. Causal unless `causal=False`.

    Args:
        config: `SASRecConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = SASRec(SASRecConfig(hidden_size=64, num_attention_heads=2))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [Self-Attentive Sequential Recommendation](https://arxiv.org/abs/1808.09781)
    """

    model_type = "sasrec"

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config, policy = self.config, self.dtype_policy
        self.max_length = config.max_position_embeddings

        self.positions = PositionEmbedding(
            self.max_length,
            self.d_model,
            config.initializer_range,
            dtype=policy,
            name="positions",
        )
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.blocks = [
            SASRecBlock(
                self.d_model,
                self.n_head,
                dropout=config.dropout,
                epsilon=config.layer_norm_eps,
                stddev=config.initializer_range,
                dtype=policy,
                name=f"block_{i}",
            )
            for i in range(self.n_layer)
        ]
        self.norm = LayerNorm(epsilon=config.layer_norm_eps, dtype=policy, name="norm")

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        return {
            "hidden_size": d_model,
            "num_attention_heads": n_head,
            "num_hidden_layers": n_layer,
            "max_position_embeddings": max_length + 1,
            "dropout": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return True

    def build_parts(self, shape):
        self.positions.build(shape)
        for block in self.blocks:
            block.build(shape)
        self.norm.build(shape)

    def encode(self, x, visible, training):
        if self.config.scale:
            x = x * self.d_model**0.5
        x = self.dropout(self.positions(x), training=training)
        for block in self.blocks:
            x = block(x, visible=visible, training=training)
        return self.norm(x)


class SASRecBlock(keras.layers.Layer):
    """Attention and feed-forward part of `SASRec`; the equation is there.

    Args:
        d_model: int. Width of the input and of the output.
        n_head: int. Number of heads.
        dropout: float. Rate on the attention weights and in the feed-forward part.
        epsilon: float. Of both layer normalisations.
        stddev: float. Standard deviation of the initial kernels.

    Call arguments:
        x: `(batch, time, d_model)`.
        visible: bool, broadcasts to `(batch, time, time)`: which key each query sees.
            `None`: every one.
        training: bool. Whether dropout is active.
    """

    def __init__(self, d_model, n_head, dropout, epsilon, stddev, **kwargs):
        super().__init__(**kwargs)
        self.n_head = n_head
        self.d_head = d_model // n_head

        def projection(units, name):
            return Dense(
                units,
                kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
                dtype=self.dtype_policy,
                name=name,
            )

        def norm(name):
            return LayerNorm(epsilon=epsilon, dtype=self.dtype_policy, name=name)

        self.query_norm = norm("query_norm")
        self.query = projection(d_model, "query")
        self.key_value = projection(2 * d_model, "key_value")
        self.attention = DotProductAttention(
            n_head,
            self.d_head,
            dropout=dropout,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.feed_forward_norm = norm("feed_forward_norm")
        self.feed_forward = FeedForward(
            d_model,
            d_model,
            "relu",
            inner_dropout=dropout,
            stddev=stddev,
            dtype=self.dtype_policy,
            name="feed_forward",
        )
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.query_norm.build(input_shape)
        self.query.build(input_shape)
        self.key_value.build(input_shape)
        self.feed_forward_norm.build(input_shape)
        self.feed_forward.build(input_shape)

    def call(self, x, visible=None, training=None):
        q = self.query_norm(x)
        x = self.feed_forward_norm(q + self.attend(q, x, visible, training))
        branch = self.feed_forward(x, training=training)
        return x + self.dropout(branch, training=training)

    def attend(self, q, x, visible, training):
        q = self.heads(self.query(q), 1)
        k, v = ops.split(self.heads(self.key_value(x), 2), 2)
        return self.attention.mix(q, k, v, visible, training)

    def heads(self, x, parts):
        """`(batch, time, parts · d_model)` as `(parts · heads, batch, time, d_head)`"""
        batch, time = ops.shape(x)[:2]
        x = ops.reshape(x, (batch, time, parts * self.n_head, self.d_head))
        return ops.transpose(x, (2, 0, 1, 3))

    def compute_output_shape(self, input_shape):
        return input_shape
