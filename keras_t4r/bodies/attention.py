"""Multi-head self-attention, and the bias that hides what must not be seen."""

import keras
from keras import ops

from keras_t4r.bodies.dense import Dense

# Keras casts what it hands to a layer to the layer's dtype, so the number must be
# finite there. It is added to scores in float32 or wider.
_HIDDEN, _HIDDEN_FLOAT16 = -1e30, -6e4


def attention_bias(length, mask=None, causal=False, dtype="float32"):
    """Builds what is added to the attention scores before the softmax.

    0 where query `i` may see key `j`, and a finite, very negative number where it
    may not: where `j` is padding, or, if causal, `j > i`. A query that may see
    nothing (in a row of padding only) then weighs all keys alike and stays finite.

    Args:
        length: int or scalar tensor. Number of positions.
        mask: bool tensor `(batch, time)`, True for real events, or `None`.
        causal: bool. Whether a position sees only itself and earlier ones.
        dtype: string. Compute dtype of the layers that it is handed to.

    Returns:
        A tensor that broadcasts to `(batch, time, time)`, or `None` where every
        position sees every other.
    """
    visible = None
    if mask is not None:
        visible = ops.expand_dims(mask, 1)
    if causal:
        index = ops.arange(length, dtype="int32")
        past = ops.expand_dims(
            ops.expand_dims(index, 1) >= ops.expand_dims(index, 0), 0
        )
        visible = past if visible is None else ops.logical_and(visible, past)
    if visible is None:
        return None
    return hide(None, visible, dtype)


def window_bias(bias, length, window, dtype="float32"):
    """Hides, on top of `bias`, what lies `window` positions off or farther.

    Args:
        bias: what `attention_bias` returned.
        length: int or scalar tensor. Number of positions.
        window: int. Query `i` sees key `j` only where `|i - j| < window`.
        dtype: string. As for `attention_bias`.

    Returns:
        A tensor that broadcasts to `(batch, time, time)`.
    """
    index = ops.arange(length, dtype="int32")
    apart = ops.abs(ops.expand_dims(index, 1) - ops.expand_dims(index, 0))
    return hide(bias, ops.expand_dims(apart < window, 0), dtype)


def hide(bias, visible, dtype="float32"):
    """`bias`, with what is not `visible`, bool `(batch, time, time)`, hidden too."""
    hidden = _HIDDEN_FLOAT16 if dtype == "float16" else _HIDDEN
    bias_of_hidden = ops.cast(ops.logical_not(visible), dtype) * hidden
    # Not the sum, which may leave half precision.
    return bias_of_hidden if bias is None else ops.minimum(bias, bias_of_hidden)


class SelfAttention(keras.layers.Layer):
    """Scaled dot-product attention of a sequence over itself.

    `softmax(s · q kᵀ + bias) v` for each head, with the projections to `q`, `k` and
    `v` fused in one matrix product, and the heads joined and projected back. The
    softmax is computed in float32 or wider whatever the dtype policy.

    Args:
        d_model: int. Width of the input and of the output.
        n_head: int. Number of heads.
        n_kv_head: int. Number of heads of keys and values, each shared by
            `n_head / n_kv_head` heads of queries; `None`: `n_head`.
        d_head: int. Width of a head; `None`: `d_model / n_head`.
        dropout: float. Rate on the attention weights.
        scale: float. Factor `s` of the scores; `None` for `1 / sqrt(d_head)`.
        use_bias: bool. Whether the projections to `q`, `k` and `v` have a bias.
        output_bias: bool. The same for the output projection; `None`: `use_bias`.
        upcast: bool. Whether the scores are computed in float32 as well.
        stddev: float. Standard deviation of the initial projections.
        output_stddev: float. The same for the output projection; `None`: `stddev`.

    References:
        [Attention Is All You Need](https://arxiv.org/abs/1706.03762),
        [GQA](https://arxiv.org/abs/2305.13245) (shared keys and values)
    """

    def __init__(
        self,
        d_model,
        n_head,
        n_kv_head=None,
        d_head=None,
        dropout=0.0,
        scale=None,
        use_bias=True,
        output_bias=None,
        upcast=False,
        stddev=0.02,
        output_stddev=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.d_model = d_model
        self.n_head = n_head
        self.n_kv_head = n_kv_head or n_head
        self.d_head = d_head or d_model // n_head
        self.scale = self.d_head**-0.5 if scale is None else scale
        self.upcast = upcast
        self.softmax_dtype = keras.backend.result_type(self.compute_dtype, "float32")

        def projection(units, bias, std, name):
            return Dense(
                units,
                use_bias=bias,
                kernel_initializer=keras.initializers.RandomNormal(stddev=std),
                dtype=self.dtype_policy,
                name=name,
            )

        self.qkv = projection(
            (n_head + 2 * self.n_kv_head) * self.d_head, use_bias, stddev, "qkv"
        )
        self.output_projection = projection(
            d_model,
            use_bias if output_bias is None else output_bias,
            output_stddev or stddev,
            "output",
        )
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.qkv.build(input_shape)
        self.output_projection.build((*input_shape[:-1], self.n_head * self.d_head))

    def call(self, x, bias=None, training=None):
        q, k, v = self.project(x)
        return self.mix(q, k, v, bias, training)

    def mix(self, q, k, v, bias, training):
        """What the queries find, joined and projected, `(batch, time, d_model)`."""
        if self.can_fuse(training):
            return self.fused(q, k, v, bias)
        return self.attend(self.scores(q, k), v, bias, training)

    def can_fuse(self, training):
        """Whether Keras's fused attention does the same: it has no dropout.

        TensorFlow has none, and there what is written out below is as fast.
        """
        dropout = bool(training) and self.dropout.rate > 0
        fuses = keras.backend.backend() in ("jax", "torch")
        return fuses and not (dropout or self.upcast)

    def fused(self, q, k, v, bias):
        """`mix` in one operation, whose scores need not be held in memory."""
        q, k, v = (
            ops.transpose(x, (1, 2, 0, 3)) for x in (q, self.share(k), self.share(v))
        )
        if bias is not None:
            bias = ops.expand_dims(bias, 1)
        mixed = ops.dot_product_attention(q, k, v, bias=bias, scale=self.scale)
        batch, time = ops.shape(mixed)[:2]
        joined = ops.reshape(mixed, (batch, time, self.n_head * self.d_head))
        return self.output_projection(joined)

    def project(self, x):
        """Queries, keys and values, each `(heads, batch, time, d_head)`."""
        batch, time = ops.shape(x)[:2]
        heads = self.n_head + 2 * self.n_kv_head
        qkv = ops.reshape(self.qkv(x), (batch, time, heads, self.d_head))
        # Not qkv[0] …: TensorFlow's gradient of indexing costs more than the rest.
        return ops.split(
            ops.transpose(qkv, (2, 0, 1, 3)),
            [self.n_head, self.n_head + self.n_kv_head],
        )

    def share(self, x):
        """Keys or values, once for each head of queries."""
        if self.n_kv_head == self.n_head:
            return x
        return ops.repeat(x, self.n_head // self.n_kv_head, axis=0)

    def scores(self, q, k):
        if self.upcast:
            q, k = ops.cast(q, self.softmax_dtype), ops.cast(k, self.softmax_dtype)
        k = ops.transpose(self.share(k), (0, 1, 3, 2))
        return ops.matmul(q * self.scale, k)

    def attend(self, scores, v, bias, training, seen=None):
        scores = ops.cast(scores, self.softmax_dtype)
        if bias is not None:
            scores = scores + ops.cast(bias, self.softmax_dtype)
        # Of one key the weight is 1; ops.softmax would warn that it is.
        weights = (
            ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores)
        )
        weights = ops.cast(weights, self.compute_dtype)
        if seen is not None:
            # Of a query that sees nothing the weights would be alike, not nothing.
            weights = weights * ops.cast(seen, weights.dtype)
        weights = self.dropout(weights, training=training)
        mixed = ops.matmul(weights, self.share(v))
        mixed = ops.transpose(mixed, (1, 2, 0, 3))
        batch, time = ops.shape(mixed)[:2]
        joined = ops.reshape(mixed, (batch, time, self.n_head * self.d_head))
        return self.output_projection(joined)

    def compute_output_shape(self, input_shape):
        return input_shape
