"""Multi-head attention of a sequence over itself."""

import keras
from keras import ops

from keras_t4r.bodies.parts.attention.dot_product_attention import DotProductAttention
from keras_t4r.bodies.parts.dense import Dense


class SelfAttention(DotProductAttention):
    """Scaled dot-product attention of a sequence over itself.

    The projections to `q`, `k` and `v` are fused in one matrix product; the joined
    heads are projected back.

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

    Call arguments:
        x: `(batch, time, d_model)`.
        visible: bool, broadcasts to `(batch, time, time)`: which key each query sees.
            `None`: every one.
        training: bool. Whether dropout is active.
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
        super().__init__(
            n_head,
            d_head or d_model // n_head,
            n_kv_head,
            dropout=dropout,
            scale=scale,
            upcast=upcast,
            **kwargs,
        )
        self.d_model = d_model

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

    def build(self, input_shape):
        self.qkv.build(input_shape)
        self.output_projection.build((*input_shape[:-1], self.n_head * self.d_head))

    def call(self, x, visible=None, training=None):
        q, k, v = self.project(x)
        return self.mix(q, k, v, visible, training)

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

    def project_back(self, joined):
        return self.output_projection(joined)

    def compute_output_shape(self, input_shape):
        return input_shape
