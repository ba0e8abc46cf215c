import hashlib

import numpy as np
from keras import ops

from keras_t4r.arrays import off_device


class ItemCounts:
    """The counts of a sampler's argument, and what tells them from others.

    A config has no counts, for they are weights, but their fingerprint: whoever
    compares configs finds other counts by it.

    Args:
        counts: numbers `(V,)`, by id, as of `item_counts`; `None`; or the dict that a
            config has of them.

    Attributes:
        values: float64 array `(V,)`, or `None`.
        config: what a config has of them: a dict, or `None`.
    """

    def __init__(self, counts):
        if isinstance(counts, dict) and list(counts) == ["fingerprint"]:
            self.values, self.config = None, dict(counts)
            return
        self.values, self.config = item_counts(counts), None
        if self.values is not None:
            digest = hashlib.sha256(self.values.tobytes()).hexdigest()
            self.config = {"fingerprint": digest}


def item_counts(counts):
    """How often each item was seen, as float64 `(V,)`, of a sampler's argument.

    Args:
        counts: numbers `(V,)`, by id; or `None`, which is given back.

    Raises:
        TypeError: they are no numbers.
        ValueError: they are of another rank, negative, masked or not finite.
    """
    if counts is None:
        return None
    counts = off_device("counts", counts)
    try:
        array = np.asarray(counts)
    except ValueError:  # lists of several lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"counts is {counts!r:.80}; it should be an array of numbers, one for each "
            "id from 0 on, as of Vocabulary.counts_by_id()."
        )
    if array.ndim != 1:
        raise ValueError(
            f"counts has the shape {array.shape}; it should be (V,): a count for each "
            "id, from 0 on."
        )
    array = array.astype("float64")
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"counts has {array[row]} for id {row}; counts are 0 or more, and finite."
        )
    return array


def popularity(counts, alpha, rows, first_id):
    """`q(i)` of all ids: of `counts ** alpha`, and 0 for those that are no items.

    Args:
        counts: float64 array, as of `item_counts`.
        alpha: float.
        rows: int. Rows of the table.
        first_id: int. The lowest id that is an item.

    Raises:
        ValueError: there are more counts than rows, or fewer, or all are 0.
    """
    if len(counts) != rows:
        raise ValueError(
            f"A sampler has {len(counts)} counts, but the table has {rows} rows: it "
            "needs a count for each id, from 0 on."
        )
    items = counts.copy()
    items[:first_id] = 0
    # As shares of the largest, no power of them is beyond a float.
    largest = items.max()
    if not largest:
        raise ValueError("A sampler has a count of 0 for all items: none can be drawn.")
    seen = items > 0
    shares = np.where(seen, items / largest, 1.0) ** alpha * seen
    return shares / shares.sum()


def check_known(sampler):
    """Raises `ValueError` where a sampler has neither counts nor weights with them.

    Args:
        sampler: built, with `counts` and `log_share`, which is NaN without them.
    """
    if sampler.counts is not None:
        return
    if np.isnan(ops.convert_to_numpy(sampler.log_share[:1])).any():
        raise ValueError(
            f"A {type(sampler).__name__} has no counts to train with: a config, and "
            "what clone_model makes of it, does not have them, for they are weights. "
            "Load the weights of the model that it comes from, or give it counts=."
        )


def filled_with(values):
    """An initializer of a weight that holds these values."""
    return lambda shape, dtype=None: ops.convert_to_tensor(values, dtype)
