import keras

from keras_t4r.arguments import truth
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.layers.schemes.scheme_mask import is_last


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
        self.last_only = truth("last_only", last_only)
        self.built = True

    def train(self, x, real, mask):
        return x, is_last(mask) if self.last_only else mask

    def serve(self, x, real, mask):
        return x, is_last(real)

    def get_config(self):
        return {**super().get_config(), "last_only": self.last_only}
