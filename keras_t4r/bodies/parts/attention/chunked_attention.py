"""Attention of chunks of a sequence to themselves and to their neighbours."""

import keras
from keras import ops

from keras_t4r.bodies.parts.attention.chunk_layout import (
    chunks_around,
    chunks_before,
    take_rows,
)
from keras_t4r.bodies.parts.dense import Dense

# What is hidden scores less than what is seen only for want of anything else.
_HIDDEN, _OWN = -1e9, -1e5


class ChunkedAttention(keras.layers.Layer):
    """Base of Reformer's attentions: each chunk sees itself and its neighbours.

    Subclasses project the input, lay it out in chunks and put together what comes
    back. No projection has a bias; the softmax is computed in float32 or wider.

    Within one chunk it is plain attention, and is computed as such where it is known
    beforehand that all real events are in one.

    Args:
        d_model: int. Width of the input and of the output.
        n_head: int. Number of heads.
        d_head: int. Width of a head.
        chunk_length: int.
        before, after: int. How many chunks before and after itself a chunk sees.
        max_length: int. The most real events of a sequence.
        causal: bool. Whether a position sees only itself and earlier ones.
        dropout: float. Rate on the attention weights.
        stddev: float. Standard deviation of the initial projections.

    Call arguments:
        x: `(batch, time, d_model)`; if it may be more than one chunk, of whole ones.
        visible: bool `(batch, 1, time)`, which events are real. What is in a chunk and
            what is past, the layer knows.
        span: int `(batch,)`. Length of each row without the padding at its end, in
            whole chunks.
        training: bool. Whether dropout is active.
    """

    # How many projections the input has.
    parts = None

    def __init__(
        self,
        d_model,
        n_head,
        d_head,
        chunk_length,
        before,
        after,
        max_length,
        causal=False,
        dropout=0.0,
        stddev=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.n_head = n_head
        self.d_head = d_head
        self.chunk_length = chunk_length
        self.before = before
        self.after = after
        self.max_length = max_length
        self.causal = causal
        self.softmax_dtype = keras.backend.result_type(self.compute_dtype, "float32")

        def projection(units, name):
            return Dense(
                units,
                use_bias=False,
                kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
                dtype=self.dtype_policy,
                name=name,
            )

        self.projection = projection(self.parts * n_head * d_head, "projection")
        self.output_projection = projection(d_model, "output")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.projection.build(input_shape)
        self.output_projection.build((*input_shape[:-1], self.n_head * self.d_head))

    def is_one_chunk(self, time):
        """Whether all real events of `time` positions are in one chunk for sure."""
        known = time if isinstance(time, int) else self.max_length
        return min(known, self.max_length) <= self.chunk_length

    def project(self, x):
        """The projections, each `(heads, batch, time, d_head)`."""
        batch, time = ops.shape(x)[:2]
        heads = self.parts * self.n_head
        y = ops.reshape(self.projection(x), (batch, time, heads, self.d_head))
        return ops.split(ops.transpose(y, (2, 0, 1, 3)), self.parts)

    def attend(self, q, k, v, visible, own, training):
        """Mixed values, and the logarithm of the sum of each query's exp(scores).

        Args:
            q: `(heads, batch, chunks, queries, d_head)`; it or `k` is scaled.
            k, v: `(heads, batch, chunks, keys, d_head)`.
            visible: bool; broadcasts to `(heads, batch, chunks, queries, keys)`.
            own: the same, or `None`. Where the key is the query's own, seen only by
                one that sees nothing else.
        """
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 2, 4, 3)))
        scores = ops.cast(scores, self.softmax_dtype)
        scores = ops.where(visible, scores, _HIDDEN)
        if own is not None:
            scores = ops.where(own, _OWN, scores)
        # Not exp(scores - total): where total is near _OWN, float32 knows it to two
        # digits, and the weights would add up to more or less than 1.
        top = ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True))
        weights = ops.exp(scores - top)
        size = ops.sum(weights, axis=-1, keepdims=True)
        weights = ops.cast(weights / size, self.compute_dtype)
        mixed = ops.matmul(self.dropout(weights, training=training), v)
        return mixed, top + ops.log(size)

    def attend_in_one_chunk(self, q, k, v, visible, own, training):
        """Mixed values `(heads, batch, time, d_head)` of plain attention.

        `own` is a bool: whether a key of the query's own is seen for want only.
        """
        index = ops.arange(ops.shape(q)[2], dtype="int32")
        query, key = ops.expand_dims(index, 1), ops.expand_dims(index, 0)
        visible = ops.expand_dims(visible, (0, 2))
        if self.causal:
            visible = ops.logical_and(visible, query >= key)
        q, k, v = (ops.expand_dims(x, 2) for x in (q, k, v))
        own = ops.equal(query, key) if own else None
        mixed, _ = self.attend(q, k, v, visible, own, training)
        return ops.squeeze(mixed, 2)

    def join(self, mixed):
        """`(heads, batch, time, d_head)` with the heads joined and projected."""
        batch, time = ops.shape(mixed)[1:3]
        joined = ops.reshape(
            ops.transpose(mixed, (1, 2, 0, 3)),
            (batch, time, self.n_head * self.d_head),
        )
        return self.output_projection(joined)

    def compute_output_shape(self, input_shape):
        return input_shape


class LocalChunkAttention(ChunkedAttention):
    """Attention of chunks of neighbours in time, `softmax(q kᵀ / √d_head) v`.

    Bidirectional, the chunks of a row form a ring, as Hugging Face's do: the first
    is preceded by the last. Causal, a chunk sees itself and those before it.
    """

    parts = 3

    def call(self, x, visible, span, training=None):
        q, k, v = self.project(x)
        q = q * self.d_head**-0.5
        batch, time = ops.shape(x)[:2]
        if self.is_one_chunk(time):
            mixed = self.attend_in_one_chunk(q, k, v, visible, False, training)
            return self.join(mixed)
        length = self.chunk_length
        chunks = time // length
        if self.causal:
            seen = chunks_before(chunks, self.before)
        else:
            own_chunks = ops.floor_divide(span, length)
            seen = chunks_around(own_chunks, chunks, self.before, self.after)
        keys = length * seen.shape[-1]
        fetched = ops.expand_dims(ops.maximum(seen, 0), 0)

        def of_chunks(x, groups, width):
            x = ops.reshape(x, (groups, batch, chunks, length * width))
            x = take_rows(x, fetched)
            return ops.reshape(x, (groups, batch, chunks, keys, width))

        visible = ops.transpose(of_chunks(visible, 1, 1), (0, 1, 2, 4, 3))
        if self.causal:
            index = ops.arange(length, dtype="int32")
            key = ops.expand_dims(seen, -1) * length + index
            key = ops.reshape(key, (chunks, 1, keys))
            query = ops.reshape(ops.arange(time, dtype="int32"), (chunks, length, 1))
            past = ops.logical_and(key >= 0, query >= key)
            visible = ops.logical_and(visible, past)
        heads, width = self.n_head, self.d_head
        q = ops.reshape(q, (heads, batch, chunks, length, width))
        k, v = of_chunks(k, heads, width), of_chunks(v, heads, width)
        mixed, _ = self.attend(q, k, v, visible, None, training)
        return self.join(ops.reshape(mixed, (heads, batch, time, width)))
