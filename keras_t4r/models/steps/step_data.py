"""Targets and sample weights of a step, by the names of the outputs."""

import keras
from keras import ops

from keras_t4r.arrays import check_unmasked
from keras_t4r.layers.attach_mask import AttachMask

# Where `y` holds sample weights on the way through Keras, which would leave those of
# next-item outputs out: they have no `y` in training.
_WEIGHTS = "keras_t4r_sample_weight"


def pack_weights(y, sample_weight):
    """`y`, a dict, with the sample weights in it."""
    return {**y, _WEIGHTS: sample_weight}


def unpack(data):
    """`(x, y, sample_weight)` of what Keras hands to a step."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(y, dict):
        y = dict(y)
        sample_weight = y.pop(_WEIGHTS, sample_weight)
        y = y or None
    return x, y, sample_weight


def targets_by_output(y, names, columns):
    """Dict of output name to targets, of those outputs that have some.

    Those of next-item outputs may be `(batch, 1)`, as Keras's sparse losses take them
    too: here they are `(batch,)`.

    Args:
        y: `None`; an array, of the only output or else of the next-item outputs, where
            these are of one column; a list in the order of the outputs; or a dict by
            the names of outputs, for next-item outputs also of columns.
        names: list of strings. All outputs.
        columns: dict of next-item output to the name of its column.

    Raises:
        TypeError: what an output gets is no array.
        ValueError: a list has not one entry an output.
    """
    targets = _by_output(y, names, columns, "y")
    for name in set(targets) & set(columns):
        target = targets[name]
        if getattr(target.shape, "rank", 0) is None:
            # A graph that was made for both shapes knows neither.
            targets[name] = ops.reshape(target, (-1,))
        elif len(target.shape) == 2 and target.shape[1] == 1:
            targets[name] = target[:, 0]
    return targets


def _by_output(y, names, columns, what):
    if y is None:
        return {}
    if isinstance(y, (list, tuple)):
        if len(y) != len(names):
            raise ValueError(
                f"{what} is a list of {len(y)}, but the model's outputs are {names}: "
                "give one array, or a dict or list of one an output."
            )
        found = dict(zip(names, y, strict=True))
    elif isinstance(y, dict):
        keys = {n: n if n in y else columns.get(n, n) for n in names}
        found = {name: y[key] for name, key in keys.items() if key in y}
    else:
        names = names if len(names) == 1 else list(columns)
        one = len(names) == 1 or len(set(columns.values())) == 1
        found = dict.fromkeys(names, y) if one else {}
    for name, target in found.items():
        if target is not None and not hasattr(target, "shape"):
            raise TypeError(
                f"{what} of {name!r} is of type {type(target).__name__}; it should be "
                "an array."
            )
        check_unmasked(f"{what} of {name!r}", target)
    return {name: target for name, target in found.items() if target is not None}


def weights_by_output(sample_weight, names, columns):
    """Dict of output name to sample weights; one array counts for every output.

    Args:
        sample_weight, names, columns: as `y` of `targets_by_output`.

    Raises:
        ValueError: a name is neither an output's nor a next-item output's column.
    """
    if sample_weight is None:
        return {}
    if not isinstance(sample_weight, (dict, list, tuple)):
        sample_weight = dict.fromkeys(names, sample_weight)
    if isinstance(sample_weight, dict):
        unknown = sorted(set(sample_weight) - {*names, *columns.values()})
        if unknown:
            raise ValueError(
                f"sample_weight has an entry for {unknown}, but the model's outputs "
                f"are {names}."
            )
    return _by_output(sample_weight, names, columns, "sample_weight")


def as_keras_takes(names, targets, outputs, weights, masks):
    """`(y, y_pred, sample_weight)` of some outputs, each a dict by name, or `None`.

    Outputs of events lose the position of the next event, and targets of events get
    the axis of their output's single value. What is padding among the events has
    weight 0: Keras's losses look at masks, but not all of its metrics do.

    Args:
        names: collection of strings. The outputs.
        targets, outputs, weights: dicts by name.
        masks: dict of output of events to bool `(batch, time)`, or `None`.
    """
    if not names:
        return None, None, None
    y, y_pred, counts = {}, {}, {}
    for name in sorted(names):
        y[name], y_pred[name] = targets[name], outputs[name]
        weight = weights.get(name)
        if len(y[name].shape) == 2 and len(y_pred[name].shape) == 3:
            mask = masks.get(name)
            y[name], y_pred[name], mask = _of_events(y[name], y_pred[name], mask)
            if weight is not None and len(weight.shape) == 1:
                weight = ops.expand_dims(weight, -1)
            if mask is not None:
                weight = ops.cast(mask, "float32") * (1.0 if weight is None else weight)
        if weight is not None:
            counts[name] = weight
    if not counts:
        return y, y_pred, None
    ones = {name: ops.ones(ops.shape(y[name])[:1], "float32") for name in y}
    return y, y_pred, {**ones, **counts}


def _of_events(y, output, mask):
    time = ops.shape(y)[1]
    output = output[:, :time]
    if mask is not None:
        mask = mask[:, :time]
        output = AttachMask()((output, mask))
    # One value an event: Keras would take the events for classes.
    return (ops.expand_dims(y, -1) if output.shape[-1] == 1 else y), output, mask
