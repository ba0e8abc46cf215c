"""Multi-head attention of given queries, keys and values."""

import keras
from keras import ops

from keras_t4r import backend

# What is added to the score of a key that is not seen. It is finite, so that a query
# which sees nothing (in a row of padding only) weighs all keys alike.
_HIDDEN = -1e30


class DotProductAttention(keras.layers.Layer):
    """Scaled dot-product attention of given queries, keys and values.

    `softmax(s · q kᵀ) v` for each head over the keys that a query sees, the heads
    joined. The softmax is computed in float32 or wider whatever the dtype policy.

    What is visible is a bool tensor that broadcasts to `(batch, time, time)`: whether
    query `i` sees key `j`. `None`: every query sees every key. See `what_is_visible`.

    Args:
        n_head: int. Number of heads.
        d_head: int. Width of a head.
        n_kv_head: int. Number of heads of keys and values, each shared by
            `n_head / n_kv_head` heads of queries; `None`: `n_head`.
        dropout: float. Rate on the attention weights.
        scale: float. Factor `s` of the scores; `None` for `1 / sqrt(d_head)`.
        upcast: bool. Whether the scores are computed in float32 as well.

    References:
        [Attention Is All You Need](https://arxiv.org/abs/1706.03762),
        [GQA](https://arxiv.org/abs/2305.13245) (shared keys and values)
    """

    def __init__(
        self,
        n_head,
        d_head,
        n_kv_head=None,
        dropout=0.0,
        scale=None,
        upcast=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.n_head = n_head
        self.n_kv_head = n_kv_head or n_head
        self.d_head = d_head
        self.scale = d_head**-0.5 if scale is None else scale
        self.upcast = upcast
        self.softmax_dtype = keras.backend.result_type(self.compute_dtype, "float32")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def project_back(self, joined):
        """The joined heads `(batch, time, n_head · d_head)`, as they leave."""
        return joined

    def mix(self, q, k, v, visible, training):
        """What the queries find, of `q`, `k` and `v` `(heads, batch, time, d_head)`."""
        if self.can_fuse(training):
            return self.fused(q, k, v, visible)
        return self.attend(self.scores(q, k), v, visible, training)

    def can_fuse(self, training):
        """Whether Keras's fused attention does the same: it has no dropout."""
        dropout = bool(training) and self.dropout.rate > 0
        fuses = backend.fuses_attention(self.compute_dtype)
        return fuses and not (dropout or self.upcast)

    def fused(self, q, k, v, visible):
        """`mix` in one operation, whose scores need not be held in memory."""
        q, k, v = (
            ops.transpose(x, (1, 2, 0, 3)) for x in (q, self.share(k), self.share(v))
        )
        if visible is not None:
            visible = ops.expand_dims(visible, 1)
        mixed = ops.dot_product_attention(q, k, v, mask=visible, scale=self.scale)
        batch, time = ops.shape(mixed)[:2]
        joined = ops.reshape(mixed, (batch, time, self.n_head * self.d_head))
        return self.project_back(joined)

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

    def attend(self, scores, v, visible, training, blind_to_zero=False):
        """`scores` `(heads, batch, time, time)` to outputs.

        `blind_to_zero`: bool. Whether a query that sees nothing gets zeros.
        """
        scores = ops.cast(scores, self.softmax_dtype)
        if visible is not None:
            # Added, for TensorFlow's gradient of a sum costs nothing; and made of the
            # small tensor of pairs, before it meets the heads.
            hidden = ops.cast(ops.logical_not(visible), self.softmax_dtype)
            scores = scores + hidden * _HIDDEN
        # Of one key the weight is 1; ops.softmax would warn that it is.
        weights = (
            ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores)
        )
        weights = ops.cast(weights, self.compute_dtype)
        if blind_to_zero:
            # Of a query that sees nothing the weights would be alike, not nothing.
            weights = weights * ops.cast(visible, weights.dtype)
        weights = self.dropout(weights, training=training)
        mixed = ops.matmul(weights, self.share(v))
        mixed = ops.transpose(mixed, (1, 2, 0, 3))
        batch, time = ops.shape(mixed)[:2]
        joined = ops.reshape(mixed, (batch, time, self.n_head * self.d_head))
        return self.project_back(joined)
