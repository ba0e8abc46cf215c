"""Items of sessions, out of what a memory is given to learn."""

import keras
import numpy as np

from keras_t4r.arguments import is_frame
from keras_t4r.arrays import off_device

# Events counted at once. Counts of more are added up: each addition goes over all
# counts so far, so there should be few.
EVENTS_AT_ONCE = 4_000_000


def id_batches(data):
    """Items `(batch, time)`, batch by batch, of a loader or an array.

    Raises:
        TypeError: it is neither.
        ValueError: the loader holds items back, or gives a part of the sessions.
    """
    # A table has a schema, too.
    if not hasattr(data, "check_ids"):
        yield _array(data)
        return
    if data.target is not None:
        raise ValueError(
            "TransitionMemory learns from whole sessions, but the loader holds back "
            f"their last item: make it without target={data.target!r}."
        )
    if data.world_size > 1:
        raise ValueError(
            f"The loader gives the sessions of rank {data.rank} of {data.world_size} "
            "only, but every rank's memory has to hold all: make a loader for it "
            "without rank and world_size."
        )
    left = data.num_sessions % data.batch_size
    if data.drop_last and left:
        raise ValueError(
            f"The loader leaves out {left} of {data.num_sessions} sessions, which fill "
            "no batch: make one for TransitionMemory without drop_last=True."
        )
    item = data.schema.item_id
    for i in range(len(data)):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data[i])
        if item not in x:
            raise ValueError(
                f"The loader's columns lack the items, {item!r}, which "
                "TransitionMemory learns from."
            )
        yield x[item]


def _array(data):
    """Items that were given as an array, or as lists that make one."""
    plain = hasattr(data, "__array__") or isinstance(data, (list, tuple))
    if not plain or is_frame(data):
        raise TypeError(
            "TransitionMemory learns from a KerasSequenceLoader, which reads tables "
            "and files of sessions, or from an int array (batch, time); this is a "
            f"{type(data).__name__}."
        )
    data = off_device("The array of sessions", data)
    try:
        return np.asarray(data)
    except ValueError as error:
        raise ValueError(
            "TransitionMemory was given sessions of several lengths: pad them on the "
            "right with 0, as [[5, 6, 7], [8, 9, 0]]."
        ) from error


def joined(batches, most=None):
    """Joins the events of many batches.

    Args:
        batches: iterable of pairs: items `(events,)`, and the session of each.
        most: int. Pairs are given once they hold as many events.

    Yields:
        Pairs of the same kind, their sessions numbered anew.
    """
    most = EVENTS_AT_ONCE if most is None else most
    items, sessions, held, next_session = [], [], 0, 0
    for some, rows in batches:
        items.append(some)
        sessions.append(rows + next_session)
        held += len(some)
        next_session += int(rows[-1]) + 1 if len(rows) else 0
        if held >= most:
            yield np.concatenate(items), np.concatenate(sessions)
            items, sessions, held, next_session = [], [], 0, 0
    if held:
        yield np.concatenate(items), np.concatenate(sessions)
