"""Multi-head self-attention, and the bias that hides what must not be seen."""

import keras
from keras import ops

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
    hidden = _HIDDEN_FLOAT16 if dtype == "float16" else _HIDDEN
    return ops.cast(ops.logical_not(visible), dtype) * hidden


class SelfAttention(keras.layers.Layer):
    """Scaled dot-product attention of a sequence over itself.

    `softmax(s · q kᵀ + bias) v` for each head, with the projections to `q`, `k` and
    `v` fused in one matrix product, and the heads joined and projected back. The
    softmax is computed in float32 or wider whatever the dtype policy.

    Args:
        d_model: int. Width of the input and of the output.
        n_head: int. Number of heads; divides `d_model`.
        dropout: float. Rate on the attention weights.
        scale: float. Factor `s` of the scores; `None` for `1 / sqrt(d_head)`.
        use_bias: bool. Whether the projections have a bias.
        upcast: bool. Whether the scores are computed in float32 as well.
        stddev: float. Standard deviation of the initial projections.
        output_stddev: float. The same for the output projection; `None`: `stddev`.

    References:
        [Attention Is All You Need](https://arxiv.org/abs/1706.03762)
    """

    def __init__(
        self,
        d_model,
        n_head,
        dropout=0.0,
        scale=None,
        use_bias=True,
        upcast=False,
        stddev=0.02,
        output_stddev=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.d_model = d_model
        self.n_head = n_head
        self.d_head = d_model // n_head
        self.scale = self.d_head**-0.5 if scale is None else scale
        self.upcast = upcast
        self.softmax_dtype = keras.backend.result_type(self.compute_dtype, "float32")

        def projection(units, std, name):
            return keras.layers.Dense(
                units,
                use_bias=use_bias,
                kernel_initializer=keras.initializers.RandomNormal(stddev=std),
                dtype=self.dtype_policy,
                name=name,
            )

        self.qkv = projection(3 * d_model, stddev, "qkv")
        self.output_projection = projection(d_model, output_stddev or stddev, "output")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.qkv.build(input_shape)
        self.output_projection.build(input_shape)

    def call(self, x, bias=None, training=None):
        q, k, v = self.project(x)
        return self.attend(self.scores(q, k), v, bias, training)

    def project(self, x):
        """Queries, keys and values, each `(heads, batch, time, d_head)`."""
        batch, time = ops.shape(x)[:2]
        qkv = ops.reshape(self.qkv(x), (batch, time, 3, self.n_head, self.d_head))
        # Not qkv[0] …: TensorFlow's gradient of indexing costs more than the rest.
        return ops.unstack(ops.transpose(qkv, (2, 3, 0, 1, 4)), num=3)

    def scores(self, q, k):
        if self.upcast:
            q, k = ops.cast(q, self.softmax_dtype), ops.cast(k, self.softmax_dtype)
        return ops.matmul(q * self.scale, ops.transpose(k, (0, 1, 3, 2)))

    def attend(self, scores, v, bias, training):
        scores = ops.cast(scores, self.softmax_dtype)
        if bias is not None:
            scores = scores + ops.cast(bias, self.softmax_dtype)
        # Of one key the weight is 1; ops.softmax would warn that it is.
        weights = (
            ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores)
        )
        weights = ops.cast(weights, self.compute_dtype)
        weights = self.dropout(weights, training=training)
        mixed = ops.transpose(ops.matmul(weights, v), (1, 2, 0, 3))
        batch, time = ops.shape(mixed)[:2]
        return self.output_projection(ops.reshape(mixed, (batch, time, self.d_model)))

    def compute_output_shape(self, input_shape):
        return input_shape
