"""What callers give as arrays, as numpy's: one rule for masks and for tensors.

A value that is masked is none, as a null is: `unmasked` makes `None` of it where there
may be nulls, and elsewhere `check_unmasked` refuses it.
"""

import numpy as np

from keras_t4r.files.sentences import first_line


def as_array(what, values):
    """An array, a tensor or lists, as a numpy array.

    Args:
        what: string. What is told of them in sentences, as `"vectors"`.
        values: what was passed.

    Raises:
        TypeError: there is no array of it.
        ValueError: a value is masked, or lists differ in length.
    """
    values = off_device(what, values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{what} makes no array ({first_line(error)}): give numbers, in rows of "
            "one length."
        ) from error


def off_device(what, values):
    """Values without a masked one among them, those of a PyTorch tensor as numpy's.

    These are taken wherever they lie, and whatever gradient the tensor knows.

    Raises:
        TypeError: the tensor is of a kind that numpy has none of.
        ValueError: a value is masked.
    """
    check_unmasked(what, values)
    if not hasattr(values, "detach"):
        return values
    try:
        values = values.detach().cpu()
        # Of it numpy has no type.
        brain = str(values.dtype) == "torch.bfloat16"
        return (values.float() if brain else values).numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{what} is a tensor that makes no array ({first_line(error)}): give a "
            "dense one of numbers."
        ) from error


def check_unmasked(what, values):
    """Raises `ValueError` where a value is masked, also of arrays in lists."""
    if _is_masked(values):
        raise ValueError(
            f"{what} has a masked value, which is no value: fill it in or leave it out."
        )


def unmasked(values):
    """Lists with `None` for each value that is masked; what has no mask as it came.

    Args:
        values: array, pandas series, or lists, of values or of such arrays.
    """
    if isinstance(values, np.ma.MaskedArray):
        if values.dtype.names is None and not np.ma.getmaskarray(values).any():
            return values.data
        # Of a time in nanoseconds `tolist` makes an integer.
        times = values.dtype.kind in "mM" and values.ndim == 1
        return _times(values) if times else values.tolist()
    # Arrays and series of objects may hold arrays.
    of_objects = str(getattr(values, "dtype", None)) == "object"
    rows = values.tolist() if of_objects else values
    if isinstance(rows, (list, tuple)) and _holds_masks(rows):
        return [unmasked(row) for row in rows]
    return values


def _times(values):
    mask = np.ma.getmaskarray(values)
    return [None if m else v for v, m in zip(values.data, mask, strict=True)]


def _is_masked(values):
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmask(values)
        return mask.dtype.names is None and bool(mask.any())
    if isinstance(values, (list, tuple)) and _holds_masks(values):
        return any(map(_is_masked, values))
    return False


def _holds_masks(rows):
    kinds = set(map(type, rows))
    if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):
        return True
    inner = (row for row in rows if isinstance(row, (list, tuple)))
    return bool(kinds & {list, tuple}) and any(map(_holds_masks, inner))
