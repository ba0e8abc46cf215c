"""The bias on attention scores that hides what must not be seen."""

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
    return hide(None, visible, dtype)


def window_bias(bias, length, window, dtype="float32"):
    """Hides, on top of `bias`, what lies `window` positions off or farther.

    Args:
        bias: what `attention_bias` returned.
        length: int or scalar tensor. Number of positions.
        window: int. Query `i` sees key `j` only where `|i - j| < window`.
        dtype: string. As for `attention_bias`.

    Returns:
        A tensor that broadcasts to `(batch, time, time)`.
    """
    index = ops.arange(length, dtype="int32")
    apart = ops.abs(ops.expand_dims(index, 1) - ops.expand_dims(index, 0))
    return hide(bias, ops.expand_dims(apart < window, 0), dtype)


def hide(bias, visible, dtype="float32"):
    """`bias`, with what is not `visible`, bool `(batch, time, time)`, hidden too."""
    hidden = _HIDDEN_FLOAT16 if dtype == "float16" else _HIDDEN
    bias_of_hidden = ops.cast(ops.logical_not(visible), dtype) * hidden
    # Not the sum, which may leave half precision.
    return bias_of_hidden if bias is None else ops.minimum(bias, bias_of_hidden)
