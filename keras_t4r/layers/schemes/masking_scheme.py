"""What all masking schemes have in common."""

import keras
from keras import ops

from keras_t4r.layers.attach_mask import AttachMask, symbolic_mask

# Among the targets: the position that is asked which item comes next.
ASKED = -1


class MaskingScheme(keras.layers.Layer):
    """Base of the schemes: events and items in; events to encode and targets out.

    A subclass chooses in `train` which events are to be predicted, and makes in
    `serve` room for the one that comes next. Targets are ids above 0; 0 where there is
    none. While serving, the one position of a session that is asked for the next item
    holds `ASKED`, -1: heads read the answer there. An empty session has none.

    Call arguments:
        x: tensor `(batch, time, width)`. The events.
        item_ids: int tensor `(batch, time)`; 0 is padding. Or a list of such tensors,
            of which the first are the items: the targets are then a list too, of the
            same positions, for heads that predict other columns (a next category).

    Returns:
        The events to encode, with a mask, and the targets; of some schemes more.
    """

    # Whether a body must see only earlier events.
    causal = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self._attach_mask = AttachMask(dtype=self.dtype_policy)

    def train(self, x, item_ids):
        """`(x, mask, wanted, move, *more)` for training.

        `wanted`, bool `(batch, time)`, says which positions have a target; `move`, how
        many events later the target stands.
        """
        raise NotImplementedError

    def serve(self, x, item_ids):
        """`(x, mask, asked, *more)`; `asked`, bool, as wide as the new `x`."""
        raise NotImplementedError

    def call(self, x, item_ids, training=None):
        columns = item_ids if isinstance(item_ids, (list, tuple)) else [item_ids]
        if training:
            x, mask, wanted, move, *more = self.train(x, columns[0])
            targets = [_targets(wanted, ids, move) for ids in columns]
        else:
            x, mask, asked, *more = self.serve(x, columns[0])
            marks = ops.where(asked, ASKED, 0)
            targets = [ops.cast(marks, ids.dtype) for ids in columns]
        targets = targets if isinstance(item_ids, (list, tuple)) else targets[0]
        return (self._attach_mask((x, mask)), targets, *more)

    def compute_mask(self, inputs, previous_mask=None):
        # Of the events only; where it is known it was attached in `call`.
        return [symbolic_mask(inputs)]

    # While serving there may be a position more.
    grows = False

    def compute_output_spec(self, x, item_ids, training=None):
        first = item_ids[0] if isinstance(item_ids, (list, tuple)) else item_ids
        batch, time = first.shape
        if self.grows and not training and time is not None:
            time += 1
        x = keras.KerasTensor((batch, time, x.shape[-1]), dtype=self.compute_dtype)
        targets = keras.tree.map_structure(
            lambda ids: keras.KerasTensor((batch, time), dtype=ids.dtype), item_ids
        )
        return (x, targets, *self.more_specs(batch, time))

    def more_specs(self, batch, time):
        """Of what a scheme returns beside events and targets."""
        return ()


def _targets(wanted, ids, move):
    if move:
        later = ops.zeros_like(ids[:, :move])
        ids = ops.concatenate([ids[:, move:], later], axis=1)
    return ops.where(wanted, ids, ops.zeros_like(ids))
