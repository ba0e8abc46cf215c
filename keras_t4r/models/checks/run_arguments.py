"""Arguments of `fit`, `evaluate` and `predict` that say how to run, not on what."""

import numbers
import os

import keras

from keras_t4r.arguments import is_frame, optional, whole_number

_VERBOSE = ("auto", 0, 1, 2)


def check_run(x, *, batch_size, verbose, callbacks, **steps):
    """Raises where Keras would pass an argument over, or end in an error of its own.

    Args:
        x: what the method is given to read.
        batch_size, verbose, callbacks: of the method.
        **steps: its number of steps, by the argument's name.

    Raises:
        TypeError, ValueError: an argument is none, or has no meaning for what is read.
    """
    _check_batch_size("batch_size", batch_size, x)
    for name, value in steps.items():
        optional(whole_number, name, value)
    plain = isinstance(verbose, (str, numbers.Integral))
    if not plain or verbose not in _VERBOSE:
        raise ValueError(f"verbose is {verbose!r}; it should be one of {_VERBOSE}.")
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callback_list(callbacks)


def check_epochs(epochs, initial_epoch):
    """Raises where there can be no such epochs.

    Raises:
        TypeError: one is no whole number.
        ValueError: one is too small.
    """
    epochs = whole_number("epochs", epochs, least=0)
    initial_epoch = whole_number("initial_epoch", initial_epoch, least=0)
    if epochs < initial_epoch:
        raise ValueError(
            f"epochs is {epochs}, but initial_epoch is {initial_epoch}: epochs is the "
            "number of the last one, not how many there are."
        )


def check_validation(data, split, *, batch_size, steps, frequency):
    """Raises where what `fit` is to validate on, or how, is none.

    Raises:
        TypeError: the data are none, or an argument is no whole number.
        ValueError: an argument has no meaning for the data, or there are none.
    """
    optional(whole_number, "validation_steps", steps)
    several = frequency if isinstance(frequency, list) else [frequency]
    for number in several:
        whole_number("validation_freq", number)
    given = {"batch_size": batch_size, "steps": steps}
    asked = [f"validation_{name}" for name, v in given.items() if v is not None]
    if frequency != 1:
        asked.append("validation_freq")
    if data is None:
        if asked and not split:
            raise ValueError(
                f"{asked[0]} has no meaning without validation_data: give that, too."
            )
        optional(whole_number, "validation_batch_size", batch_size)
        return
    plain = isinstance(data, (str, bytes, os.PathLike, dict, int, float))
    if plain or is_frame(data) or hasattr(data, "shape"):
        raise TypeError(
            f"validation_data is of type {type(data).__name__}; give a "
            "KerasSequenceLoader with target='last', which reads tables and files of "
            "sessions, or a tuple of inputs and targets, (x, y)."
        )
    read = data[0] if isinstance(data, (list, tuple)) and data else data
    _check_batch_size("validation_batch_size", batch_size, read)


def callback_list(callbacks, more=""):
    """A list of callbacks, of which one may stand for a list, as in `fit`.

    Args:
        callbacks: what was passed.
        more: string. What else may be passed, for the sentence.

    Raises:
        TypeError: one is none.
    """
    if callbacks is None:
        return []
    several = isinstance(callbacks, (list, tuple))
    found = list(callbacks) if several else [callbacks]
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                f"{callback!r} among the callbacks is none: give Keras callbacks{more}."
            )
    return found


def _check_batch_size(name, value, x):
    optional(whole_number, name, value)
    if value is not None and isinstance(x, keras.utils.PyDataset):
        raise ValueError(
            f"{name} is {value}, but a {type(x).__name__} makes its batches itself: "
            f"leave {name} out, and make it with the batch_size that is wanted."
        )
