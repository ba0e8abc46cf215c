"""Draws items as a softmax over all of them has it."""

from keras import ops

from keras_t4r.losses.products.blocks import even_blocks, most_rows


def sample_softmax(hidden, table, bias, draw):
    """Draws one item a row from a softmax over all items.

    With `z = hidden @ table.T + bias`, row `n` gets the first item `i` with
    `softmax(z)[0] + … + softmax(z)[i] > draw[n]`. Large catalogues are done in
    blocks of rows, so that `z` is never whole in memory. No gradient flows.

    Args:
        hidden: float tensor `(n, dim)`.
        table: float tensor `(V, dim)`.
        bias: float tensor `(V,)`.
        draw: float32 tensor `(n,)`, uniform in [0, 1).

    Returns:
        An int32 tensor `(n,)`, rows of `table`.

    Example:

    >>> items = sample_softmax(h, table, bias, keras.random.uniform((8,)))

    References:
    - Clark et al., ELECTRA, ICLR 2020 (what samples of a generator are for).
    """
    hidden = ops.stop_gradient(ops.cast(hidden, "float32"))
    table = ops.transpose(ops.stop_gradient(ops.cast(table, "float32")))
    bias = ops.stop_gradient(ops.cast(bias, "float32"))
    draw = ops.convert_to_tensor(draw, "float32")

    def of_rows(hidden, draw):
        z = ops.matmul(hidden, table) + bias
        mass = ops.cumsum(ops.exp(z - ops.max(z, axis=1, keepdims=True)), axis=1)
        below = mass <= (draw * mass[:, -1])[:, None]
        # A draw next to 1 may round up to the whole mass.
        last = table.shape[1] - 1
        return ops.minimum(ops.sum(ops.cast(below, "int32"), axis=1), last)

    items, dim = table.shape[1], table.shape[0]
    most = most_rows(items)
    count = ops.shape(hidden)[0]
    if isinstance(count, int) and count <= most:
        return of_rows(hidden, draw)
    blocks, rows = even_blocks(count, most)
    fill = blocks * rows - count
    h = ops.concatenate([hidden, ops.zeros((fill, dim), "float32")])
    u = ops.concatenate([draw, ops.zeros((fill,), "float32")])

    def one(i, drawn):
        start = i * rows
        part = of_rows(
            ops.slice(h, (start, 0), (rows, dim)), ops.slice(u, (start,), (rows,))
        )
        return i + 1, ops.slice_update(drawn, (start,), part)

    _, drawn = ops.while_loop(
        lambda i, *_: i < blocks, one, (0, ops.zeros((blocks * rows,), "int32"))
    )
    return drawn[:count]
