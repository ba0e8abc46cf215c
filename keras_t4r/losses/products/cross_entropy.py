"""The softmax over all items, whole or in blocks."""

from keras import ops

from keras_t4r.backend import subtract_rows
from keras_t4r.losses.products.blocks import FEWEST_ROWS, even_blocks, most_rows
from keras_t4r.losses.products.tiled_softmax import tiled_cross_entropy

# Below it, `bias` says that an id is no item.
NO_ITEM = -1e8


def softmax_cross_entropy(
    hidden,
    table,
    bias,
    targets,
    weights,
    label_smoothing=0.0,
    chunks=None,
    filter_below=0.0,
):
    """Sum of the cross-entropies of a softmax over all items.

    With scores `z = hidden @ table.T + bias`, a target `y` and smoothing `s` over `V`
    items:

    `loss = weight * (logsumexp(z) - (1 - s) * z[y] - s * mean(z))`

    Large catalogues are done in blocks of targets. Each block's gradient is made
    in the forward pass, so that the scores `(targets, V)` are never whole in
    memory, nor computed twice. Where that would leave blocks of few rows, catalogues
    are cut as well: see `tiled_cross_entropy`.

    Args:
        hidden: float tensor `(n, dim)`.
        table: float tensor `(V, dim)`.
        bias: float tensor `(V,)`. Below -1e8 for ids that are no items.
        targets: int tensor `(n,)`, rows of `table`.
        weights: float tensor `(n,)`; 0 leaves a row out.
        label_smoothing: float in [0, 1).
        chunks: `"none"`; `"targets"`, chosen from 20,000 items on; `"items"`: of both,
            chosen from 130,000 items on, or by a filter. `None` chooses.
        filter_below: float. Of chunks of items: those in which no item has this
            probability, for any of some targets, give no gradient.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: there is a filter, but no chunks of items.

    Example:

    >>> loss = softmax_cross_entropy(h, table, ops.zeros((9,)), y, ops.ones((8,)))

    References:
    - Szegedy et al., Rethinking the Inception Architecture, CVPR 2016 (label
      smoothing).
    """
    hidden, table, bias, weights = (
        ops.cast(x, "float32") for x in (hidden, table, bias, weights)
    )
    arrays = (hidden, table, bias, targets, weights)
    check_filter(filter_below, chunks)
    chunks = chunks or ("items" if filter_below else chosen_chunks(table.shape[0]))
    if chunks == "items":
        loss = tiled_cross_entropy(*arrays, filter_below)
    elif chunks == "targets":
        loss = _blockwise(*arrays)
    else:
        logits = ops.matmul(hidden, ops.transpose(table)) + bias
        loss = ops.sum(
            weights
            * ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        )
    if label_smoothing:
        # mean(z) needs no scores: it is linear in the mean of the items' rows.
        item = ops.cast(bias > NO_ITEM, "float32")
        items = ops.sum(item)
        mean_row = ops.matmul(item[None, :], table)[0] / items
        mean_bias = ops.sum(ops.where(item > 0, bias, 0.0)) / items
        margin = ops.sum(hidden * (ops.take(table, targets, axis=0) - mean_row), -1)
        margin = margin + ops.take(bias, targets) - mean_bias
        loss = loss + label_smoothing * ops.sum(weights * margin)
    return loss


def check_filter(filter_below, chunks):
    """Raises `ValueError` where a filter has no chunks of items to leave out."""
    if filter_below and chunks not in (None, "items"):
        raise ValueError(
            f"filter_below={filter_below} leaves out chunks of items, and "
            f"chunks={chunks!r} makes none: say chunks='items', or leave one out."
        )


def chosen_chunks(items):
    """What a catalogue of so many items is cut by."""
    if most_rows(items) < FEWEST_ROWS:
        return "items"
    return "targets" if items >= 20_000 else "none"


def _blockwise(hidden, table, bias, targets, weights):
    most = most_rows(table.shape[0])

    @ops.custom_gradient
    def cross_entropy(hidden, table, bias):
        # The bias rides along as one more column: no pass of its own over the
        # logits, neither forth nor back.
        table = ops.concatenate([table, bias[:, None]], axis=1)
        hidden = ops.concatenate([hidden, ops.ones_like(hidden[:, :1])], axis=1)
        dim = table.shape[1]
        count = ops.shape(hidden)[0]
        blocks, rows = even_blocks(count, most)
        fill = blocks * rows - count
        h = ops.concatenate([hidden, ops.zeros((fill, dim), "float32")])
        w = ops.concatenate([weights, ops.zeros((fill,), "float32")])
        transposed = ops.transpose(table)

        def one(i, loss, d_hidden, d_table):
            start = i * rows
            hb, wb = (
                ops.slice(h, (start, 0), (rows, dim)),
                ops.slice(w, (start,), (rows,)),
            )
            z = ops.matmul(hb, transposed)
            top = ops.max(z, axis=1, keepdims=True)
            e = ops.exp(z - top)
            total = ops.sum(e, axis=1)
            loss = loss + ops.sum(wb * (top[:, 0] + ops.log(total)))
            scale = (wb / total)[:, None]
            d_hidden = ops.slice_update(
                d_hidden, (start, 0), scale * ops.matmul(e, table)
            )
            d_table = d_table + ops.matmul(ops.transpose(e), scale * hb)
            return i + 1, loss, d_hidden, d_table

        state = (0, ops.zeros((), "float32"), ops.zeros_like(h), ops.zeros_like(table))
        _, loss, d_hidden, d_table = ops.while_loop(
            lambda i, *_: i < blocks, one, state
        )
        # The part of the targets themselves.
        target_rows = ops.take(table, targets, axis=0)
        loss = loss - ops.sum(weights[:, None] * hidden * target_rows)
        d_hidden = d_hidden[:count] - weights[:, None] * target_rows
        d_table = subtract_rows(d_table, targets, weights[:, None] * hidden)

        def gradient(*args, upstream=None):
            up = args[0] if upstream is None else upstream
            return up * d_hidden[:, :-1], up * d_table[:, :-1], up * d_table[:, -1]

        return loss, gradient

    return cross_entropy(hidden, table, bias)
