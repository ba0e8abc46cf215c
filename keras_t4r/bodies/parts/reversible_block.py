"""Attention and feed-forward, each reading one stream and adding to the other."""

from keras_t4r.bodies.parts.blocks import PreNormBlock


class ReversibleBlock(PreNormBlock):
    """`y₁ = x₁ + attention(norm(x₂))`, then `y₂ = x₂ + feed_forward(norm(y₁))`.

    Args:
        those of `PreNormBlock`.

    Call arguments:
        attended, x: `(batch, time, d_model)`, `x₁` and `x₂`.
        training: bool. Whether dropout is active.
        **seen: handed on to the attention.

    References:
        [RevNet](https://arxiv.org/abs/1707.04585)
    """

    def call(self, attended, x, training=None, **seen):
        branch = self.attention(self.attention_norm(x), training=training, **seen)
        attended = attended + self.dropout(branch, training=training)
        branch = self.feed_forward(self.feed_forward_norm(attended), training=training)
        return attended, x + self.dropout(branch, training=training)

    def compute_output_shape(self, attended_shape, x_shape=None):
        return attended_shape, attended_shape
