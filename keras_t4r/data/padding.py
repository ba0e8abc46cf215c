"""From flat values to right-padded arrays, one gather a column."""

import numpy as np


def padded_index(begin, length, time):
    """Where each cell of a padded batch lies in the flat values.

    Row `b` reads `begin[b], …, begin[b] + length[b] - 1`; the cells after them
    read position 0, which every flat array keeps free for the padding.

    Args:
        begin: int array `(batch,)`. Position of each session's first event.
        length: int array `(batch,)`. Number of events, at most `time`.
        time: int. Width of the result.

    Returns:
        An int64 array `(batch, time)`.
    """
    step = np.arange(time)
    index = begin[:, None] + step
    index *= step < length[:, None]
    return index


def gather(values, index):
    """Reads `values` at `index`; position 0 holds the padding, a zero."""
    # In "clip" mode numpy writes straight into the result. The positions are
    # right by construction, so nothing is ever clipped.
    return values.take(index, mode="clip")
