"""How large products of targets x items are cut into blocks."""

from keras import ops

# Logits held at one time: 64 MiB of float32.
BLOCK_LOGITS = 1 << 24

# Blocks of fewer rows than this are better cut across the items, too.
FEWEST_ROWS = 128

# Logits held at one time where items are cut, too: 8 MiB, which caches hold.
TILE_LOGITS = 1 << 21


def most_rows(items):
    """How many rows of `items` logits a block may have."""
    return max(16, BLOCK_LOGITS // items)


def even_blocks(count, most):
    """`(blocks, rows)`: how many blocks `count` rows take, and how long each is.

    All are of one size, so that the last one is not mostly filling. Ints where
    `count` is one, else scalar tensors.
    """
    blocks = _at_least_one((count + most - 1) // most)
    return blocks, _at_least_one((count + blocks - 1) // blocks)


def _at_least_one(n):
    return max(n, 1) if isinstance(n, int) else ops.maximum(n, 1)
