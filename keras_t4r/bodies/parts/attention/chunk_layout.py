"""Which chunks of a sequence see which, and how rows are fetched by number."""

from keras import ops


def take_rows(x, index):
    """Row `index[g, b, ...]` of `x[g, b]`.

    Args:
        x: `(groups, batch, rows, width)`.
        index: int tensor that broadcasts to `(groups, batch, ...)`; where `x` has one
            group, it may have several.

    Returns:
        A tensor `(groups, batch, ..., width)`.
    """
    groups, batch, rows, width = ops.shape(x)
    # Whole rows of one table: with an index for each number the index would be as
    # large as what is fetched.
    table = ops.reshape(x, (groups * batch * rows, width))
    start = ops.arange(groups * batch, dtype="int32") * rows
    start = ops.reshape(start, (groups, batch, *[1] * (len(index.shape) - 2)))
    return ops.take(table, start + index, axis=0)


def chunks_before(chunks, before):
    """The `before` chunks before each chunk, and itself; below 0 there is none.

    Returns:
        An int tensor `(1, chunks, before + 1)`.
    """
    place = ops.expand_dims(ops.arange(chunks, dtype="int32"), 1)
    return ops.expand_dims(place + ops.arange(-before, 1, dtype="int32"), 0)


def chunks_around(own, chunks, before, after, rounds=1):
    """The chunks before and after each chunk, and itself, in a ring.

    A row has `rounds · chunks` chunks. The first `own` of each round are its own and
    form one ring, round after round; the others hold padding only, which may not
    matter.

    Args:
        own: int tensor `(batch,)`, at least 1.
        chunks, rounds: int, or scalar tensor. Chunks of a round, and rounds.
        before, after: int. How many chunks before and after itself a chunk sees.

    Returns:
        An int tensor `(batch, rounds · chunks, before + 1 + after)`.
    """
    own = ops.reshape(own, (-1, 1, 1, 1))
    turn = ops.reshape(ops.arange(rounds, dtype="int32"), (1, rounds, 1, 1))
    place = ops.reshape(ops.arange(chunks, dtype="int32"), (1, 1, chunks, 1))
    shift = ops.arange(-before, after + 1, dtype="int32")
    # Hugging Face turns a ring that is shorter than the shift by nothing at all.
    shift = ops.where(ops.abs(shift) > rounds * own, 0, shift)
    there = ops.mod(turn * own + place + shift, rounds * own)
    there = ops.floor_divide(there, own) * chunks + ops.mod(there, own)
    return ops.reshape(there, (-1, rounds * chunks, before + 1 + after))
