"""Whether what a model computes with, and what it answers, are numbers."""

import keras
import numpy as np
from keras import ops

_WHAT_TO_DO = (
    "the model has diverged. Train it again with a smaller learning rate, or go on "
    "from an earlier checkpoint."
)


class DivergedError(ValueError):
    """A model's scores are NaN, so that there is nothing to answer or to compare."""

    def __init__(self):
        super().__init__(f"The model's scores are NaN: {_WHAT_TO_DO}")


def check_scores(scores):
    """Raises `DivergedError` where a score is NaN; minus infinity is none's score.

    Args:
        scores: NumPy array.
    """
    if np.isnan(scores).any():
        raise DivergedError


def check_finite(model):
    """Raises where a weight of a model is no finite number.

    Args:
        model: `keras.Model`.

    Raises:
        ValueError: one is NaN or infinite; it names the first.
    """
    for variable in model.weights:
        if not keras.backend.is_float_dtype(variable.dtype):
            continue
        values = ops.convert_to_numpy(variable)
        # What is set and not trained may be infinite, as the strength of a memory.
        fine = np.isfinite(values) if variable.trainable else ~np.isnan(values)
        if fine.all():
            continue
        if variable.trainable:
            raise ValueError(
                f"The weights {variable.path!r} hold a value that is no finite number: "
                f"{_WHAT_TO_DO}"
            )
        raise ValueError(
            f"The weights {variable.path!r}, which are not trained, hold NaN: load all "
            "of the model's weights, or train it again."
        )
