"""Attention and feed-forward, each reading one stream and adding to the other."""

from keras_t4r.bodies.parts.blocks import PreNormBlock


class ReversibleBlock(PreNormBlock):
    """`y₁ = x₁ + attention(norm(x₂))`, then `y₂ = x₂ + feed_forward(norm(y₁))`.

    Args:
        those of `PreNormBlock`.

    Call arguments:
        attended, x: `(batch, time, d_model)`, `x₁` and `x₂`.
        visible: bool `(batch, 1, time)`, which events are real.
        training: bool. Whether dropout is active.
        **more: handed on to the attention.

    References:
        [RevNet](https://arxiv.org/abs/1707.04585)
    """

    def call(self, attended, x, visible=None, training=None, **more):
        branch = self.attention(
            self.attention_norm(x), visible=visible, training=training, **more
        )
        attended = attended + self.dropout(branch, training=training)
        branch = self.feed_forward(self.feed_forward_norm(attended), training=training)
        return attended, x + self.dropout(branch, training=training)

    def compute_output_shape(self, attended_shape, x_shape=None):
        return attended_shape, attended_shape
