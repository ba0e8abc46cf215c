import keras
from keras import ops

from keras_t4r.arguments import number
from keras_t4r.layers.heads.weighing import (
    add_weighed_loss,
    over_events,
    sessions_weight,
)
from keras_t4r.quantization import KeepsQuantization


@keras.saving.register_keras_serializable(package="keras_t4r")
class ReplacedTokenDetection(KeepsQuantization, keras.layers.Layer):
    """Trains a discriminator to tell replaced items from those that were clicked.

    A generator, the model that is served, learns to name hidden items (masked language
    modeling) and replaces them by what it would name; the discriminator reads the
    session with the replacements in it. With `d_t` its output at event `t`,

    `D_t = sigmoid(w · gelu(W d_t + c) + b)`
    `loss = weight · mean_t(BCE(D_t, replaced_t ≠ item_t))`

    over all real events. A replacement that happens to be the item itself counts as
    the item. The discriminator may be the generator's own block, called a second time:
    then both tasks train one body; or another: then they share the item table.

    Side features stay those of the event that was clicked, also where its item is
    replaced: give the discriminator the item alone, or it may tell by them.

    In inference the scores are handed on as they are, and the answer is that of the
    generator: the event that comes next is appended as a hidden one.

    Args:
        weight: float. Weight of the loss beside the generator's.

    Call arguments:
        scores: what the `GeneratorHead` returned; handed on.
        x: tensor `(batch, time, width)`. Outputs of the discriminator.
        replaced: int tensor `(batch, time)`. The items that it read.
        item_ids: int tensor `(batch, time)`. The items that were clicked.

    Returns:
        `scores`.

    Raises:
        TypeError: `weight` is no number.
        ValueError: `weight` is not positive.

    Example:

    ```python
    items = inputs[schema.item_id]
    x, table = features(inputs)
    x, targets = MaskedLanguageModeling(rate=0.3)(x, items)
    block = TransformerBlock(ElectraConfig(...))
    scores, replaced = GeneratorHead()(block(x), targets, table, items)
    read, _ = features({**inputs, schema.item_id: replaced})
    scores = ReplacedTokenDetection()(scores, block(read), replaced, items)
    model = SessionModel(inputs, scores)
    ```

    References:
    - Clark et al., ELECTRA, ICLR 2020.
    - de Souza Pereira Moreira et al., Transformers4Rec, RecSys 2021.
    """

    def __init__(self, weight=50.0, **kwargs):
        # The scores, which are handed on, stay as they are.
        super().__init__(**{"autocast": False, **kwargs})
        self.weight = number("weight", weight, above=0)

    def build(self, scores_shape, x_shape, replaced_shape=None, item_ids_shape=None):
        width = x_shape[-1]
        self._inner = keras.layers.Dense(
            width, activation="gelu", name="inner", dtype=self.dtype_policy
        )
        self._outer = keras.layers.Dense(1, name="outer", dtype=self.dtype_policy)
        self._inner.build((None, None, width))
        self._outer.build((None, None, width))

    def call(self, scores, x, replaced, item_ids, training=None):
        if training:
            loss, count = self._loss(x, replaced, item_ids)
            add_weighed_loss(self, self.weight * loss, count)
        return scores

    def _loss(self, x, replaced, item_ids):
        """The sum over the events, and their number."""
        logits = ops.cast(self._outer(self._inner(x))[..., 0], "float32")
        wrong = ops.cast(ops.not_equal(replaced, item_ids), "float32")
        real = ops.cast(ops.not_equal(item_ids, 0), "float32")
        loss = ops.binary_crossentropy(wrong, logits, from_logits=True) * real
        sessions = sessions_weight(self)
        if sessions is not None:
            loss = loss * over_events(sessions, ops.shape(loss))
        return ops.sum(loss), ops.sum(real)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, scores, x, replaced, item_ids, training=None):
        return keras.KerasTensor(scores.shape, dtype=scores.dtype)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
