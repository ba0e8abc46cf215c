import keras
from keras import ops

from keras_t4r.layers.schemes.hidden_events import is_last
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme


@keras.saving.register_keras_serializable(package="keras_t4r")
class CausalLanguageModeling(MaskingScheme):
    """Trains every position to predict the item that comes next.

    The target at position `t` is the item at `t + 1`. The last event of a session
    has none: in training it counts as padding, so that whatever reads the session
    behind the scheme sees no more than when serving. In inference nothing changes: the
    last event is asked. The body must be causal, or a position would see its target.

    Args:
        last_only: bool. Train on the last item of a session only.

    Call arguments:
        x: tensor `(batch, time, width)`. The events.
        item_ids: int tensor `(batch, time)`; 0 is padding. Or a list; see
            `MaskingScheme`.

    Returns:
        The pair of the events, with a mask, and the targets `(batch, time)`: 0 where
        there is none, -1 for the event that is asked in inference.

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
        self.built = True

    def train(self, x, item_ids):
        real = ops.not_equal(item_ids, 0)
        nothing = ops.zeros_like(real[:, :1])
        has_next = ops.logical_and(
            real, ops.concatenate([real[:, 1:], nothing], axis=1)
        )
        wanted = is_last(has_next) if self.last_only else has_next
        return x, has_next, wanted, 1

    def serve(self, x, item_ids):
        real = ops.not_equal(item_ids, 0)
        return x, real, is_last(real)

    def get_config(self):
        return {**super().get_config(), "last_only": self.last_only}
