"""The block of HSTU, and how it sorts time differences."""

import keras
from keras import ops

from keras_t4r.bodies.parts.dense import Dense
from keras_t4r.bodies.parts.layer_norm import LayerNorm


def time_buckets(times, last):
    """The bucket of each pair's time difference.

    `floor(ln(max(1, |tᵢ - tⱼ|)) / 0.301)`, at most `last`; the constant is that of
    Meta's code.

    Args:
        times: `(batch, time)`, whole numbers or floats.
        last: int. The last bucket.

    Returns:
        An int32 tensor `(batch, time, time)`.
    """
    # In their own dtype: float32 has no room for seconds since 1970.
    apart = ops.abs(ops.expand_dims(times, 2) - ops.expand_dims(times, 1))
    apart = ops.maximum(ops.cast(apart, "float32"), 1.0)
    bucket = ops.floor(ops.log(apart) / 0.301)
    return ops.cast(ops.minimum(bucket, float(last)), "int32")


class HSTUBlock(keras.layers.Layer):
    """Pointwise attention with gates; the equation is at `HSTU`.

    Args:
        d_model: int. Width of the input and of the output.
        n_head: int. Number of heads.
        attention_dim: int. Width of a head's queries and keys; `None`:
            `d_model / n_head`.
        linear_dim: int. Width of a head's values and gates; `None`: the same.
        max_length: int. The most positions; attention is divided by it.
        num_buckets: int. The last bucket of time differences.
        dropout: float. Rate before the last product.
        epsilon: float. Of both layer normalisations.
        stddev: float. Standard deviation of the initial weights.

    Call arguments:
        x: `(batch, time, d_model)`.
        distances: int `(time, time)`, `i - j + max_length - 1`.
        buckets: `time_buckets` of the events, if the block was built for them.
        visible: bool, broadcasts to `(batch, time, time)`: which key each query sees.
            `None`: every one.
    """

    def __init__(
        self,
        d_model,
        n_head,
        attention_dim,
        linear_dim,
        max_length,
        num_buckets,
        dropout,
        epsilon,
        stddev,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.d_model = d_model
        self.n_head = n_head
        self.attention_dim = attention_dim or d_model // n_head
        self.linear_dim = linear_dim or d_model // n_head
        self.max_length = max_length
        self.num_buckets = num_buckets
        self.score_dtype = keras.backend.result_type(self.compute_dtype, "float32")
        self.initializer = keras.initializers.RandomNormal(stddev=stddev)

        def projection(units, use_bias, name):
            return Dense(
                units,
                use_bias=use_bias,
                kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
                dtype=self.dtype_policy,
                name=name,
            )

        def norm(name):
            # Without weights, in inner and outer normalisation alike.
            return LayerNorm(
                epsilon=epsilon,
                center=False,
                scale=False,
                dtype=self.dtype_policy,
                name=name,
            )

        self.input_norm = norm("input_norm")
        self.uvqk = projection(
            2 * n_head * (self.linear_dim + self.attention_dim), False, "uvqk"
        )
        self.attention_norm = norm("attention_norm")
        self.output_projection = projection(d_model, True, "output")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, x_shape, buckets_shape=None):
        joined = (*x_shape[:-1], self.n_head * self.linear_dim)
        self.input_norm.build(x_shape)
        self.uvqk.build(x_shape)
        self.attention_norm.build(joined)
        self.output_projection.build(joined)

        def table(rows, name):
            return self.add_weight(
                shape=(rows,), initializer=self.initializer.clone(), name=name
            )

        self.distance_bias = table(2 * self.max_length - 1, "distance_bias")
        self.time_bias = None
        if buckets_shape is not None:
            self.time_bias = table(self.num_buckets + 1, "time_bias")

    def call(self, x, distances, buckets=None, visible=None, training=None):
        width = self.n_head * self.linear_dim
        uvqk = ops.silu(self.uvqk(self.input_norm(x)))
        u, v, q, k = ops.split(
            uvqk,
            [width, 2 * width, 2 * width + self.n_head * self.attention_dim],
            axis=-1,
        )
        q, k, v = self.heads(q), self.heads(k), self.heads(v)
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2)))
        scores = ops.cast(scores, self.score_dtype) + self.bias(distances, buckets)
        weights = ops.silu(scores) * (1 / self.max_length)
        if visible is not None:
            weights = weights * ops.cast(visible, weights.dtype)
        mixed = ops.matmul(ops.cast(weights, self.compute_dtype), v)
        mixed = ops.reshape(ops.transpose(mixed, (1, 2, 0, 3)), ops.shape(u))
        gated = self.dropout(u * self.attention_norm(mixed), training=training)
        return x + self.output_projection(gated)

    def heads(self, x):
        """`(batch, time, heads · width)` as `(heads, batch, time, width)`."""
        batch, time, width = ops.shape(x)
        x = ops.reshape(x, (batch, time, self.n_head, width // self.n_head))
        return ops.transpose(x, (2, 0, 1, 3))

    def bias(self, distances, buckets):
        """What is added to the scores of all heads."""
        bias = ops.take(ops.convert_to_tensor(self.distance_bias), distances)
        bias = ops.expand_dims(ops.cast(bias, self.score_dtype), 0)
        if buckets is None:
            return bias
        by_time = ops.take(ops.convert_to_tensor(self.time_bias), buckets)
        return bias + ops.cast(by_time, self.score_dtype)

    def compute_output_shape(self, x_shape, buckets_shape=None):
        return x_shape
