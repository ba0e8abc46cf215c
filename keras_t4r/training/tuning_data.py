"""The sessions that steps after the head are tuned on."""

import keras

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.models.checks.id_checks import check_ids


def check_sessions(model, sessions, target=None):
    """Raises where a model cannot be tuned on sessions.

    Args:
        model: functional `keras.Model`.
        sessions, target: what was passed.

    Raises:
        TypeError: they are no loader, or the target is no name.
        ValueError: their ids were encoded by another vocabulary than the model's.
    """
    if not isinstance(sessions, KerasSequenceLoader):
        raise TypeError(
            f"The sessions are of type {type(sessions).__name__}; give a "
            "KerasSequenceLoader with target='last'."
        )
    if target is not None and not isinstance(target, str):
        raise TypeError(f"target is {target!r}; it should be the name of a target.")
    check_ids(model, sessions)


def check_layer(argument, layer, kind):
    """Raises `TypeError` where what was passed as the layer to tune is none."""
    if not isinstance(layer, kind):
        raise TypeError(
            f"{argument} is {layer!r}; it should be the model's {kind.__name__}."
        )


def model_inputs(model, x):
    """The columns of a batch as the list of a model's inputs."""
    if not isinstance(x, dict):
        return keras.tree.flatten(x)
    if isinstance(model.input, dict):
        return keras.tree.flatten({name: x[name] for name in model.input})
    return [x[tensor.name] for tensor in model.inputs]


def item_target(y, sessions, target):
    """The target that scores rank, of those that a loader gives.

    Args:
        y: what it gives: an array, or a dict of them.
        sessions: `KerasSequenceLoader`.
        target: string. Which of the dict; `None` for the items.

    Raises:
        ValueError: there is none.
    """
    if isinstance(y, dict):
        if target is not None and target not in y:
            raise ValueError(
                f"target is {target!r}, but the loader gives {sorted(y)}: take one of "
                "them."
            )
        y = y.get(sessions.schema.item_id if target is None else target)
    elif target is not None:
        raise ValueError(f"The loader gives one target, but target is {target!r}.")
    if y is None:
        raise ValueError(
            "There is no target to rank: make the loader with target='last'."
        )
    return y
