import keras
from keras import ops

from keras_t4r.layers.attach_mask import AttachMask


@keras.saving.register_keras_serializable(package="keras_t4r")
class CausalLanguageModeling(keras.layers.Layer):
    """Trains every position to predict the item that comes next.

    The target at position `t` is the item at `t + 1`; the last event of a
    session has none. In inference nothing changes: the head reads the last
    event. The body must be causal, or a position would see its target.

    Args:
        last_only: bool. Train on the last item of a session only.

    Call arguments:
        x: tensor `(batch, time, width)`. The events.
        item_ids: int tensor `(batch, time)`; 0 is padding.

    Returns:
        The pair of the events, masked where there is no item, and the targets
        `(batch, time)`, 0 where there is none.

    Example:

    ```python
    x, targets = CausalLanguageModeling()(x, inputs[schema.item_id])
    ```

    References:
    - Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018.
    - Radford et al., Improving Language Understanding by Generative
      Pre-Training, 2018.
    """

    causal = True

    def __init__(self, last_only=False, **kwargs):
        super().__init__(**kwargs)
        self.last_only = last_only
        self.supports_masking = True
        self._attach_mask = AttachMask(dtype=self.dtype_policy)
        self.built = True

    def call(self, x, item_ids, training=None):
        mask = ops.not_equal(item_ids, 0)
        targets = ops.zeros_like(item_ids)
        if training:
            targets = ops.concatenate([item_ids[:, 1:], targets[:, :1]], axis=1)
            if self.last_only:
                after = ops.concatenate([targets[:, 1:], targets[:, :1] * 0], axis=1)
                targets = ops.where(ops.equal(after, 0), targets, 0)
            targets = ops.where(mask, targets, 0)
        return self._attach_mask((x, mask)), targets

    def compute_mask(self, inputs, previous_mask=None):
        # Attached in `call`, to the events only.
        return None

    def compute_output_spec(self, x, item_ids, training=None):
        return (
            keras.KerasTensor(x.shape, dtype=self.compute_dtype),
            keras.KerasTensor(item_ids.shape, dtype=item_ids.dtype),
        )

    def get_config(self):
        return {**super().get_config(), "last_only": self.last_only}
