"""The softmax over all items in tiles of targets and of items."""

from keras import ops

from keras_t4r.backend import loop_in_order, put_rows, subtract_rows, zeros_to_fill
from keras_t4r.losses.products.blocks import TILE_LOGITS, even_blocks

# Items of a tile.
TILE_ITEMS = 4096


def tiled_cross_entropy(hidden, table, bias, targets, weights, filter_below=0.0):
    """Sum of the cross-entropies of a softmax over all items.

    Neither the scores `(targets, V)` nor anything of their size is ever whole in
    memory: each tile is made twice, once for the sums of the softmax, and once, when
    they are known, for the gradients. Above its arguments it holds their gradients,
    of which the table's is as large as the table, and a tile.

    Args:
        hidden: float32 tensor `(n, dim)`.
        table: float32 tensor `(V, dim)`.
        bias: float32 tensor `(V,)`.
        targets: int tensor `(n,)`.
        weights: float32 tensor `(n,)`.
        filter_below: float. Tiles in which no item has this probability for any
            target give no gradient.

    Returns:
        A float32 scalar.

    References:
    - Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
    - Wijmans et al., Cut Your Losses in Large-Vocabulary Language Models, ICLR 2025
      (tiles made again for the gradient, and those that matter only).
    """
    items, dim = table.shape
    chunk = min(TILE_ITEMS, items)
    chunks = -(-items // chunk)
    most = max(TILE_LOGITS // chunk, 16)

    @ops.custom_gradient
    def cross_entropy(hidden, table, bias):
        count = ops.shape(hidden)[0]
        blocks, rows = even_blocks(count, most)
        fill = blocks * rows - count
        h = ops.concatenate([hidden, ops.zeros((fill, dim), "float32")])
        w = ops.concatenate([weights, ops.zeros((fill,), "float32")])

        def tile(i):
            """Rows, items and scores of tile `i`, and what of the items is new."""
            start = (i % blocks) * rows
            # The last chunk reaches back over items that the one before it has.
            begin = (i // blocks) * chunk
            first = ops.minimum(begin, items - chunk)
            hb = ops.slice(h, (start, 0), (rows, dim))
            tb = ops.slice(table, (first, 0), (chunk, dim))
            bb = ops.slice(bias, (first,), (chunk,))
            new = first + ops.arange(chunk) >= begin
            z = ops.matmul(hb, ops.transpose(tb)) + ops.where(new, bb, -1e30)
            return start, first, hb, tb, z

        def add_up(i, top, total):
            start, _, _, _, z = tile(i)
            m = ops.slice(top, (start,), (rows,))
            s = ops.slice(total, (start,), (rows,))
            m_new = ops.maximum(m, ops.max(z, axis=1))
            s = s * ops.exp(m - m_new) + ops.sum(ops.exp(z - m_new[:, None]), axis=1)
            return i + 1, put_rows(top, start, m_new), put_rows(total, start, s)

        tiles = blocks * chunks
        state = (0, ops.full_like(w, -1e30), ops.zeros_like(w))
        _, top, total = loop_in_order(lambda i, *_: i < tiles, add_up, state)
        log_sum = top + ops.log(total)

        target_rows = ops.take(table, targets, axis=0)
        z_target = ops.sum(hidden * target_rows, axis=1) + ops.take(bias, targets)
        loss = ops.sum(weights * (log_sum[:count] - z_target))

        y = ops.concatenate([targets, ops.zeros((fill,), targets.dtype)])

        def spread(i, up, d_hidden, d_table, d_bias):
            start, first, hb, tb, z = tile(i)
            scale = up * ops.slice(w, (start,), (rows,))
            dh = ops.slice(d_hidden, (start, 0), (rows, dim))
            dt = ops.slice(d_table, (first, 0), (chunk, dim))
            db = ops.slice(d_bias, (first,), (chunk,))
            p = ops.exp(z - ops.slice(log_sum, (start,), (rows,))[:, None])

            def with_gradients():
                wp = p * scale[:, None]
                return (
                    dh + ops.matmul(wp, tb),
                    dt + ops.matmul(ops.transpose(wp), hb),
                    db + ops.sum(wp, axis=0),
                )

            if filter_below:
                # Rows that are no targets have no say.
                matters = ops.max(ops.where(scale[:, None] != 0, p, 0)) >= filter_below
                dh, dt, db = ops.cond(matters, with_gradients, lambda: (dh, dt, db))
            else:
                dh, dt, db = with_gradients()

            # The part of the targets themselves, where this tile has them: done for
            # the whole table at once, it would need a second one.
            yb = ops.slice(y, (start,), (rows,))
            begin = ops.cast((i // blocks) * chunk, yb.dtype)
            local = yb - ops.cast(first, yb.dtype)
            here = ops.logical_and(yb >= begin, local < chunk)
            local = ops.clip(local, 0, chunk - 1)
            share = ops.where(here, scale, 0.0)[:, None]
            dt = subtract_rows(dt, local, share * hb)
            db = subtract_rows(db[:, None], local, share)[:, 0]
            return (
                i + 1,
                up,
                put_rows(d_hidden, start, dh),
                put_rows(d_table, first, dt),
                put_rows(d_bias, first, db),
            )

        def gradient(*args, upstream=None):
            up = args[0] if upstream is None else upstream
            state = (0, up, *map(zeros_to_fill, (h, table, bias)))
            _, _, d_hidden, d_table, d_bias = loop_in_order(
                lambda i, *_: i < tiles, spread, state
            )
            w_up = (up * weights)[:, None]
            return d_hidden[:count] - w_up * target_rows, d_table, d_bias

        return loss, gradient

    return cross_entropy(hidden, table, bias)
