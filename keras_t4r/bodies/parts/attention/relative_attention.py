"""Self-attention that knows how far apart two positions are (Transformer-XL)."""

import keras
from keras import ops

from keras_t4r.bodies.parts.attention.self_attention import SelfAttention


def relative_encoding(length, d_model, clamp=-1):
    """Sinusoids of the distances `length, length - 1, …, 1 - length`.

    Args:
        length: int or scalar tensor. Number of positions of the sequence.
        d_model: int. Width of the encoding; half of it sines, half cosines.
        clamp: int. Distances beyond ±`clamp` count as `clamp`; 0 or less: no limit.

    Returns:
        A float32 tensor `(2 · length, d_model)`.
    """
    distance = ops.cast(length - ops.arange(2 * length, dtype="int32"), "float32")
    if clamp > 0:
        distance = ops.clip(distance, -clamp, clamp)
    frequency = 10000.0 ** (-ops.arange(0, d_model, 2, dtype="float32") / d_model)
    angle = ops.expand_dims(distance, 1) * frequency
    return ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)


def relative_shift(x, length):
    """Turns scores by distance into scores by key.

    Column `c` of `x` belongs to the distance `length - c`, so query `i` finds key
    `j` in column `length - i + j`. Read without its first `length` numbers and in
    rows one shorter, the same memory has that score at `(i, j)`.

    Args:
        x: tensor `(heads, batch, length, 2 · length)`.
        length: int or scalar tensor.

    Returns:
        A tensor `(heads, batch, length, length)`.
    """
    heads, batch = ops.shape(x)[:2]
    # ops.slice, for TensorFlow's gradient of x[…] takes ten times as long.
    x = ops.reshape(x, (heads * batch, 2 * length * length))
    x = ops.slice(x, (0, length), (heads * batch, length * (2 * length - 1)))
    x = ops.reshape(x, (heads * batch * length, 2 * length - 1))
    x = ops.slice(x, (0, 0), (heads * batch * length, length))
    return ops.reshape(x, (heads, batch, length, length))


class RelativeAttention(SelfAttention):
    """Self-attention with relative positions.

    The score of key `j` for query `i` is
    `s · ((qᵢ + u) · kⱼ + (qᵢ + w) · R rᵢ₋ⱼ)`: what the two are, and how far apart
    they stand, with `u`, `w` and `R` learnt and `r` sinusoids. There are no
    absolute positions.

    Args:
        Those of `SelfAttention`, and
        own_biases: bool. Whether `u` and `w` are weights of this layer. If not, it is
            called with them.

    Call arguments:
        x: `(batch, time, d_model)`. In two streams, twice the batch: what the events
            are, then what is asked about them. Both attend to the first alone.
        encoding: `relative_encoding` of the length.
        visible: bool, broadcasts to `(batch, time, time)`; see `SelfAttention`.
        query_visible: the same for the second of two streams, `visible` being for the
            first; both `(batch, time, time)`. A query that sees nothing gets zeros.
        biases: `(2, heads, d_head)`, `u` and `w`, for a layer that has none itself.

    References:
        [Transformer-XL](https://arxiv.org/abs/1901.02860)
    """

    def __init__(self, *args, stddev=0.02, own_biases=True, **kwargs):
        super().__init__(*args, stddev=stddev, use_bias=False, **kwargs)
        self.stddev = stddev
        self.own_biases = own_biases

    def build(self, input_shape):
        super().build(input_shape)

        def weight(shape, name):
            return self.add_weight(
                shape=shape,
                initializer=keras.initializers.RandomNormal(stddev=self.stddev),
                name=name,
            )

        self.relative_kernel = weight(
            (self.d_model, self.n_head * self.d_head), "relative_kernel"
        )
        if self.own_biases:
            self.content_bias = weight((self.n_head, self.d_head), "content_bias")
            self.position_bias = weight((self.n_head, self.d_head), "position_bias")

    def call(
        self,
        x,
        encoding,
        visible=None,
        query_visible=None,
        biases=None,
        training=None,
    ):
        q, k, v = self.project(x)
        two_streams = query_visible is not None
        if two_streams:
            visible = ops.concatenate([visible, query_visible])
            k, v = _first_stream_twice(k), _first_stream_twice(v)
        if self.own_biases:
            content, position = self.content_bias, self.position_bias
        else:
            content, position = biases[0], biases[1]
        scores = self.scores(q + content[:, None, None], k)
        scores = scores + self.position_scores(q + position[:, None, None], encoding)
        return self.attend(scores, v, visible, training, blind_to_zero=two_streams)

    def position_scores(self, q, encoding):
        heads, batch, length = ops.shape(q)[:3]
        q = q * self.scale
        # Distances are the same in every row of the batch: one product a head.
        q = ops.reshape(q, (heads, batch * length, self.d_head))
        r = ops.matmul(encoding, self.relative_kernel)
        r = ops.reshape(r, (2 * length, heads, self.d_head))
        scores = ops.matmul(q, ops.transpose(r, (1, 2, 0)))
        scores = ops.reshape(scores, (heads, batch, length, 2 * length))
        return relative_shift(scores, length)


def _first_stream_twice(x):
    first, _ = ops.split(x, 2, axis=1)
    return ops.concatenate([first, first], axis=1)
