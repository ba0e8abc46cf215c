"""Self-attention to near positions only, at a cost that grows with the length."""

import collections

from keras import ops

from keras_t4r.bodies.parts.attention.self_attention import SelfAttention

# `count` blocks of `block` positions, each shown with `before` and `after` more.
Cut = collections.namedtuple("Cut", "count block before after")


class LocalAttention(SelfAttention):
    """Self-attention in which query `i` sees key `j` only where `|i - j| <= reach`.

    The positions are cut into blocks no shorter than `reach`, so that a block of
    queries sees its own block of keys and the two beside it, and nothing else is
    computed: time and memory are `O(time · reach)` rather than `O(time²)`. Sequences
    too short to gain by it are one block, which is plain attention.

    Args:
        reach: int. How far off a key may be.
        causal: bool. Whether keys later than the query are hidden.
        Others: those of `SelfAttention`.

    Call arguments:
        x: `(batch, time, d_model)`.
        visible: bool `(batch, 1, time)`, which events are real. What is near and what
            is past, the layer knows. `None`: all are real.

    References:
        [Longformer](https://arxiv.org/abs/2004.05150)
    """

    def __init__(self, *args, reach, causal=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.reach = reach
        self.causal = causal

    def call(self, x, visible=None, training=None):
        batch, time = ops.shape(x)[:2]
        cut = self.cut(time)
        full = cut.count * cut.block
        q, k, v = self.project(ops.pad(x, ((0, 0), (0, full - time), (0, 0))))
        # Blocks are rows of a larger batch, and from here on attention is plain.
        q = ops.reshape(q, (self.n_head, batch * cut.count, cut.block, self.d_head))
        k, v = around(k, cut), around(v, cut)
        visible = self.visible_in_blocks(visible, batch, time, cut)
        y = self.mix(q, k, v, visible, training)
        y = ops.reshape(y, (batch, full, self.d_model))
        return ops.slice(y, (0, 0, 0), (batch, time, self.d_model))

    def cut(self, time):
        """The `Cut` of `time` positions, an int or a scalar tensor."""
        count = time // max(self.reach, 1)
        # A block of queries sees two or three blocks of keys: where there are no more
        # of them, all keys are as few.
        gains = count > (2 if self.causal else 3)
        count = _choose(gains, count, 1)
        block = -(-time // count)
        before = _choose(gains, block, 0)
        return Cut(count, block, before, 0 if self.causal else before)

    def visible_in_blocks(self, real, batch, time, cut):
        """Which key each query of a block sees, `(batch · count, block, keys)`."""
        if real is None:
            real = ops.ones((batch, 1, time), "bool")
        real = ops.reshape(real, (1, batch, time, 1))
        # The zeros that fill up the last block, or stand before the first one and
        # after the last, are not real.
        rest = cut.count * cut.block - time
        real = around(ops.pad(real, ((0, 0), (0, 0), (0, rest), (0, 0))), cut)
        real = ops.transpose(ops.squeeze(real, 0), (0, 2, 1))

        query = ops.expand_dims(ops.arange(cut.block, dtype="int32"), 1)
        keys = cut.before + cut.block + cut.after
        key = ops.arange(keys, dtype="int32") - cut.before
        later = key - query
        near = ops.logical_and(
            later >= -self.reach, later <= (0 if self.causal else self.reach)
        )
        return ops.logical_and(real, near)


def around(x, cut):
    """Each block of `x` with what stands around it; zeros where nothing does.

    Args:
        x: tensor `(heads, batch, count · block, width)`.
        cut: a `Cut`.

    Returns:
        A tensor `(heads, batch · count, before + block + after, width)`.
    """
    heads, batch, _, width = ops.shape(x)
    padded = ops.pad(x, ((0, 0), (0, 0), (cut.before, cut.after), (0, 0)))

    def piece(start, length):
        shape = (heads, batch, cut.count * length, width)
        y = ops.slice(padded, (0, 0, start, 0), shape)
        return ops.reshape(y, (heads, batch * cut.count, length, width))

    own = ops.reshape(x, (heads, batch * cut.count, cut.block, width))
    before = piece(0, cut.before)
    after = piece(cut.before + cut.block, cut.after)
    return ops.concatenate([before, own, after], axis=2)


def _choose(condition, x, y):
    """`x` or `y`: numbers where the length is one, else tensors."""
    if isinstance(condition, bool):
        return x if condition else y
    return ops.where(condition, x, y)
