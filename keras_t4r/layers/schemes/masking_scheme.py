"""What all masking schemes have in common."""

import keras
from keras import ops

from keras_t4r.layers.attach_mask import AttachMask
from keras_t4r.layers.schemes.scheme_mask import SchemeMask

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

    # Whether a body must see only earlier events: targets are the next event's.
    causal = False
    # Whether a position for the next event is appended in inference.
    appends = False
    # Whether a body must be told which position sees which: the third output.
    needs_two_streams = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self._mask = SchemeMask(self.causal, self.appends)
        self._attach_mask = AttachMask(dtype=self.dtype_policy)

    def train(self, x, real, mask):
        """`(x, wanted, *more)` for training.

        Args:
            x: tensor `(batch, time, width)`.
            real: bool tensor `(batch, time)`. Which positions hold an event.
            mask: bool tensor `(batch, time)`. Those of them that bodies may see.

        Returns:
            The events to encode; bool `(batch, time)`, which positions have a target;
            and what the scheme returns more.
        """
        raise NotImplementedError

    def serve(self, x, real, mask):
        """`(x, asked, *more)` for inference.

        `x` has grown by a position of zeros, where the scheme appends one; `real` and
        `mask`, with it, are as wide. `asked`, bool, is the position to answer from.
        """
        raise NotImplementedError

    def call(self, x, item_ids, training=None):
        columns = item_ids if isinstance(item_ids, (list, tuple)) else [item_ids]
        real = ops.not_equal(columns[0], 0)
        mask = self.event_mask(real, training)
        if training:
            x, wanted, *more = self.train(x, real, mask)
            targets = [self._targets(wanted, ids) for ids in columns]
        else:
            if self.appends:
                x = ops.concatenate([x, ops.zeros_like(x[:, :1])], axis=1)
                nothing = ops.zeros_like(real[:, :1])
                real = ops.concatenate([real, nothing], axis=1)
            x, asked, *more = self.serve(x, real, mask)
            marks = ops.where(asked, ASKED, 0)
            targets = [ops.cast(marks, ids.dtype) for ids in columns]
        targets = targets if isinstance(item_ids, (list, tuple)) else targets[0]
        return (self._attach_mask((x, mask)), targets, *more)

    def event_mask(self, real, training=None):
        """Which positions bodies may see.

        Args:
            real: bool tensor `(batch, time)`. Which positions hold an event.
            training: bool.

        Returns:
            A bool tensor `(batch, time)`; in inference `(batch, time + 1)` of a scheme
            that appends a position.
        """
        return self._mask(real, training=training)

    def _targets(self, wanted, ids):
        if self.causal:
            ids = ops.concatenate([ids[:, 1:], ops.zeros_like(ids[:, :1])], axis=1)
        return ops.where(wanted, ids, ops.zeros_like(ids))

    def compute_mask(self, inputs, previous_mask=None):
        # Of the events only. Beside values it was attached in `call`; while a graph is
        # made it has to be a tensor of that graph.
        if previous_mask is None or not keras.utils.is_keras_tensor(inputs):
            return None
        return [self._mask(previous_mask)]

    def compute_output_spec(self, x, item_ids, training=None):
        first = item_ids[0] if isinstance(item_ids, (list, tuple)) else item_ids
        batch, time = first.shape
        if self.appends and not training and time is not None:
            time += 1
        x = keras.KerasTensor((batch, time, x.shape[-1]), dtype=self.compute_dtype)
        targets = keras.tree.map_structure(
            lambda ids: keras.KerasTensor((batch, time), dtype=ids.dtype), item_ids
        )
        return (x, targets, *self.more_specs(batch, time))

    def more_specs(self, batch, time):
        """Of what a scheme returns beside events and targets."""
        return ()
