"""Targets and sample weights that are arrays, as a caller may give them."""

import numpy as np

from keras_t4r.models.checks.input_checks import is_array, values_of
from keras_t4r.schema import LARGEST_NUMBER


def check_targets(targets, rows):
    """Raises where an array of targets holds no ids of what its head scores.

    Args:
        targets: dict of output to targets.
        rows: dict of next-item output to the number of ids that it scores.

    Raises:
        TypeError: they are no whole numbers.
        ValueError: they are not one an event that came next, or an id is outside of the
            output's.
    """
    for name, number in rows.items():
        if not is_array(targets.get(name)):
            continue
        ids = values_of(targets[name], f"y of {name!r}")
        if ids.ndim != 1:
            raise ValueError(
                f"y of {name!r} has shape {ids.shape}; it should be one id a session, "
                "that of what came next."
            )
        if ids.dtype.kind not in "iu":
            raise TypeError(
                f"y of {name!r} holds {ids.dtype}; it should hold whole ids, those of "
                "what came next."
            )
        wrong = (ids < 0) | (ids >= number)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"y of {name!r} holds id {ids[row]} in row {row + 1}; its ids run from "
                f"0 to {number - 1}: encode targets as the sessions are."
            )


def check_weights(weights, targets, axes, sessions=None):
    """Raises where an array of sample weights holds what cannot weigh.

    Args:
        weights: dict of output to sample weights.
        targets: dict of output to targets, of those that have some.
        axes: dict of output to the number of its axes; 1 for a next-item output, which
            is of one target a session.
        sessions: int. How many there are, where it is known.

    Raises:
        TypeError: they are no numbers.
        ValueError: one is below 0, no number, or too large; or they are not one a
            session, nor, for an output with a value an event, one an event.
    """
    for name, weight in weights.items():
        if not is_array(weight):
            continue
        _check_shape(name, tuple(weight.shape), targets.get(name), axes[name], sessions)
        values = values_of(weight, f"sample_weight of {name!r}")
        if values.dtype.kind not in "fiub":
            raise TypeError(
                f"sample_weight of {name!r} holds {values.dtype}; it should hold "
                "numbers."
            )
        fine = (values >= 0) & (values <= LARGEST_NUMBER)
        if not fine.all():
            row = int(np.argwhere(~fine)[0][0])
            raise ValueError(
                f"sample_weight of {name!r} has a value in row {row + 1} that is below "
                f"0, no number, or beyond {LARGEST_NUMBER:g}."
            )


def _check_shape(name, shape, target, axes, sessions):
    number = sessions if sessions is not None else shape[0] if shape else "n"
    # Keras takes a column for an output that is one, too.
    if shape == (number,) or (axes == 2 and shape == (number, 1)):
        return
    wanted = f"({number},), one a session"
    if axes > 2 and target is not None:
        of_events = tuple(target.shape)[: axes - 1]
        if shape == of_events:
            return
        wanted += f", or {of_events}, one an event"
    raise ValueError(
        f"sample_weight of {name!r} has shape {shape}; it should have {wanted}."
    )
