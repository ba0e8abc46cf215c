from keras import ops

from keras_t4r.backend import subtract_rows

# Logits held at one time in the blockwise form: 64 MiB of float32.
BLOCK_LOGITS = 1 << 24


def softmax_cross_entropy(
    hidden,
    table,
    bias,
    targets,
    weights,
    temperature=1.0,
    label_smoothing=0.0,
    blockwise=None,
):
    """Sum of the cross-entropies of a softmax over all items.

    With logits `z = (hidden @ table.T + bias) / temperature`, a target `y` and
    smoothing `s` over `V` items:

    `loss = weight * (logsumexp(z) - (1 - s) * z[y] - s * mean(z))`

    Large catalogues are done in blocks of rows. Each block's gradient is made
    in the forward pass, so that the logits `(targets, V)` are never whole in
    memory, nor computed twice.

    Args:
        hidden: float tensor `(n, dim)`.
        table: float tensor `(V, dim)`.
        bias: float tensor `(V,)`, or `None`.
        targets: int tensor `(n,)`, rows of `table`.
        weights: float tensor `(n,)`; 0 leaves a row out.
        temperature: float.
        label_smoothing: float in [0, 1).
        blockwise: bool. `None` chooses it from 20,000 items on.

    Returns:
        A float32 scalar.

    Example:

    >>> loss = softmax_cross_entropy(h, table, None, y, ops.ones((8,)))

    References:
    - Szegedy et al., Rethinking the Inception Architecture, CVPR 2016 (label
      smoothing).
    """
    hidden = ops.cast(hidden, "float32") / temperature
    table = ops.cast(table, "float32")
    weights = ops.cast(weights, "float32")
    if bias is None:
        bias = ops.zeros(ops.shape(table)[:1], dtype="float32")
    else:
        bias = ops.cast(bias, "float32") / temperature
    if blockwise is None:
        blockwise = table.shape[0] >= 20_000
    if blockwise:
        loss = _blockwise(hidden, table, bias, targets, weights)
    else:
        logits = ops.matmul(hidden, ops.transpose(table)) + bias
        loss = ops.sum(
            weights
            * ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        )
    if label_smoothing:
        # mean(z) needs no logits: it is linear in the mean of the table.
        target_rows = ops.take(table, targets, axis=0) - ops.mean(table, axis=0)
        margin = ops.sum(hidden * target_rows, axis=-1)
        margin = margin + ops.take(bias, targets) - ops.mean(bias)
        loss = loss + label_smoothing * ops.sum(weights * margin)
    return loss


def _blockwise(hidden, table, bias, targets, weights):
    items = table.shape[0]
    most_rows = max(16, BLOCK_LOGITS // items)

    @ops.custom_gradient
    def cross_entropy(hidden, table, bias):
        # The bias rides along as one more column: no pass of its own over the
        # logits, neither forth nor back.
        table = ops.concatenate([table, bias[:, None]], axis=1)
        hidden = ops.concatenate([hidden, ops.ones_like(hidden[:, :1])], axis=1)
        dim = table.shape[1]
        count = ops.shape(hidden)[0]
        blocks, rows = even_blocks(count, most_rows)
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


def even_blocks(count, most_rows):
    """`(blocks, rows)`: how many blocks `count` rows take, and how long each is.

    All are of one size, so that the last one is not mostly filling. Ints where
    `count` is one, else scalar tensors.
    """
    blocks = _at_least_one((count + most_rows - 1) // most_rows)
    return blocks, _at_least_one((count + blocks - 1) // blocks)


def _at_least_one(n):
    return max(n, 1) if isinstance(n, int) else ops.maximum(n, 1)
