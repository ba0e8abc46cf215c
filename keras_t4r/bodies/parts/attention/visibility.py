"""Which key each query sees."""

from keras import ops


def what_is_visible(length, mask=None, causal=False):
    """Whether query `i` may see key `j`.

    It may not where `j` is padding, nor, if causal, where `j > i`.

    Args:
        length: int or scalar tensor. Number of positions.
        mask: bool tensor `(batch, time)`, True for real events, or `None`.
        causal: bool. Whether a position sees only itself and earlier ones.

    Returns:
        A bool tensor that broadcasts to `(batch, time, time)`; `(batch, 1, time)` of a
        mask alone. `None` where every position sees every other.
    """
    real = None if mask is None else ops.expand_dims(mask, 1)
    if not causal:
        return real
    index = ops.arange(length, dtype="int32")
    past = ops.expand_dims(ops.expand_dims(index, 1) >= ops.expand_dims(index, 0), 0)
    return past if real is None else ops.logical_and(real, past)


def within_window(visible, length, window):
    """What of `visible` lies fewer than `window` positions off.

    Args:
        visible: what `what_is_visible` returned.
        length: int or scalar tensor. Number of positions.
        window: int. Query `i` sees key `j` only where `|i - j| < window`; `None`: no
            limit.

    Returns:
        A bool tensor that broadcasts to `(batch, time, time)`, or `None`.
    """
    if window is None:
        return visible
    index = ops.arange(length, dtype="int32")
    apart = ops.abs(ops.expand_dims(index, 1) - ops.expand_dims(index, 0))
    near = ops.expand_dims(apart < window, 0)
    return near if visible is None else ops.logical_and(visible, near)
