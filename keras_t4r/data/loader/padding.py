"""From flat values to right-padded arrays, two indexed copies a column."""

import numpy as np


def event_cells(begin, length, time):
    """Where the events of some sessions lie, and where they go in a padded batch.

    Only real events are copied: work does not grow with the padding.

    Args:
        begin: int array `(batch,)`. Position of each session's first event in the
            flat values.
        length: int array `(batch,)`. Number of events, at most `time`.
        time: int. Width of the batch.

    Returns:
        Two int64 arrays `(events,)`: positions in the flat values, and in the
        flattened batch.
    """
    passed = np.cumsum(length, dtype=np.int64)
    events = np.arange(passed[-1])
    passed -= length
    source = np.repeat(begin - passed, length)
    source += events
    target = np.repeat(np.arange(len(length)) * time - passed, length)
    target += events
    return source, target


def pad(values, source, target, shape):
    """Copies values into an array of zeros.

    Args:
        values: array `(all events, …)`.
        source, target: int arrays. As from `event_cells`.
        shape: `(batch, time)`.

    Returns:
        An array `(batch, time, …)` of the type of the values.
    """
    inner = values.shape[1:]
    padded = np.zeros((shape[0] * shape[1], *inner), values.dtype)
    # In "clip" mode numpy takes no detour by a buffer. The positions are right by
    # construction, so nothing is ever clipped.
    padded[target] = values.take(source, axis=0, mode="clip")
    return padded.reshape(*shape, *inner)
