"""Targets and sample weights that are arrays, as a caller may give them."""

import keras
import numpy as np

from keras_t4r.models.checks.input_checks import is_array
from keras_t4r.schema import LARGEST_NUMBER


def check_targets(targets, heads):
    """Raises where an array of targets holds no ids of what its head scores.

    Args:
        targets: dict of next-item output to targets.
        heads: dict of next-item output to `NextItemHead`.

    Raises:
        TypeError: they are no whole numbers.
        ValueError: they are not one an event that came next, or an id is outside of the
            output's.
    """
    for name, head in heads.items():
        if not is_array(targets[name]):
            continue
        ids = np.asarray(keras.ops.convert_to_numpy(targets[name]))
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
        wrong = (ids < 0) | (ids >= head.rows)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"y of {name!r} holds id {ids[row]} in row {row + 1}; its ids run from "
                f"0 to {head.rows - 1}: encode targets as the sessions are."
            )


def check_weights(weights):
    """Raises where an array of sample weights holds what cannot weigh.

    Args:
        weights: dict of output to sample weights.

    Raises:
        TypeError: they are no numbers.
        ValueError: one is below 0, no number, or too large.
    """
    for name, weight in weights.items():
        if not is_array(weight):
            continue
        values = np.asarray(keras.ops.convert_to_numpy(weight))
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
