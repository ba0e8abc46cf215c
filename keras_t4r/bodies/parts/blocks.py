"""Attention and feed-forward with their residuals: norm after, or norm before."""

import keras

from keras_t4r.bodies.parts.layer_norm import LayerNorm


class _Block(keras.layers.Layer):
    """Two residual branches, attention and feed-forward.

    Args:
        attention: `SelfAttention` or a subclass.
        feed_forward: `FeedForward`.
        dropout: float. Rate at the end of each branch.
        epsilon: float. Of both normalisations.
        norm: class, or function, that makes a normalisation of an `epsilon`, a `dtype`
            and a `name`: "attention_norm" or "feed_forward_norm".

    Call arguments:
        x: `(batch, time, d_model)`.
        visible: bool, broadcasts to `(batch, time, time)`: which key each query sees.
            `None`: every one.
        training: bool. Whether dropout is active.
        **more: handed on to the attention.
    """

    def __init__(
        self, attention, feed_forward, dropout, epsilon, norm=LayerNorm, **kwargs
    ):
        super().__init__(**kwargs)

        def make_norm(name):
            return norm(epsilon=epsilon, dtype=self.dtype_policy, name=name)

        self.attention = attention
        self.attention_norm = make_norm("attention_norm")
        self.feed_forward = feed_forward
        self.feed_forward_norm = make_norm("feed_forward_norm")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.attention.build(input_shape)
        self.attention_norm.build(input_shape)
        self.feed_forward.build(input_shape)
        self.feed_forward_norm.build(input_shape)

    def compute_output_shape(self, input_shape):
        return input_shape


class PostNormBlock(_Block):
    """`y = norm(x + attention(x))`, then `norm(y + feed_forward(y))`."""

    def call(self, x, visible=None, training=None, **more):
        branch = self.attention(x, visible=visible, training=training, **more)
        x = self.attention_norm(x + self.dropout(branch, training=training))
        branch = self.feed_forward(x, training=training)
        return self.feed_forward_norm(x + self.dropout(branch, training=training))


class PreNormBlock(_Block):
    """`y = x + attention(norm(x))`, then `y + feed_forward(norm(y))`."""

    def call(self, x, visible=None, training=None, **more):
        branch = self.attention(
            self.attention_norm(x), visible=visible, training=training, **more
        )
        x = x + self.dropout(branch, training=training)
        branch = self.feed_forward(self.feed_forward_norm(x), training=training)
        return x + self.dropout(branch, training=training)
