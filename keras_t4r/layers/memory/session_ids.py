"""Items of sessions, out of what a memory is given to learn."""

import keras
import numpy as np

# Events counted at once. Counts of more are added up: each addition goes over all
# counts so far, so there should be few.
EVENTS_AT_ONCE = 4_000_000


def id_batches(data):
    """Items `(batch, time)`, batch by batch, of a loader or an array.

    Raises:
        ValueError: the loader holds items back, or gives a part of the sessions.
    """
    if not hasattr(data, "schema"):
        yield np.asarray(data)
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
    item = data.schema.item_id
    for i in range(len(data)):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data[i])
        if item not in x:
            raise ValueError(
                f"The loader's columns lack the items, {item!r}, which "
                "TransitionMemory learns from."
            )
        yield x[item]


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
