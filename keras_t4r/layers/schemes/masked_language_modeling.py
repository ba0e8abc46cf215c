import keras
from keras import ops

from keras_t4r.layers.attach_mask import AttachMask
from keras_t4r.layers.schemes.hidden_events import (
    append_slot,
    hide_some_but_not_all,
    is_last,
)


@keras.saving.register_keras_serializable(package="keras_t4r")
class MaskedLanguageModeling(keras.layers.Layer):
    """Hides events of a session and trains the model to name their items.

    Each event is hidden with probability `rate`, independently; a session has
    at least one hidden event and, where it has two events or more, at least
    one that is not. A hidden event is replaced as a whole, side features
    included, by a learned vector. With probability `last_rate` a session has
    its last event hidden and no other, which is what is asked when serving.

    In inference the learned vector is appended after the last event, and the
    head reads that position: the answer is for the event that comes next.

    Args:
        rate: float in (0, 1). Probability that an event is hidden.
        last_rate: float in [0, 1]. Share of sessions that hide only their
            last event.
        seed: int. Seed of the random choice.

    Call arguments:
        x: tensor `(batch, time, width)`. The events.
        item_ids: int tensor `(batch, time)`; 0 is padding.

    Returns:
        The pair of the events to encode and the targets, 0 where there is
        none: `time` positions in training, `time + 1` in inference.

    Example:

    ```python
    x, targets = MaskedLanguageModeling(rate=0.3)(x, inputs[schema.item_id])
    ```

    References:
    - Devlin et al., BERT, NAACL 2019.
    - Sun et al., BERT4Rec, CIKM 2019.
    """

    causal = False

    def __init__(self, rate=0.15, last_rate=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 < rate < 1.0:
            raise ValueError(f"rate must lie between 0 and 1, not at {rate}.")
        if not 0.0 <= last_rate <= 1.0:
            raise ValueError(f"last_rate must lie in [0, 1], not at {last_rate}.")
        # Passed arguments.
        self.rate = rate
        self.last_rate = last_rate
        self.seed = seed

        # Other arguments.
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, x_shape, item_ids_shape=None):
        self.mask_embedding = self.add_weight(
            name="mask_embedding",
            shape=(x_shape[-1],),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
        )
        self._attach_mask = AttachMask(dtype=self.dtype_policy)

    def call(self, x, item_ids, training=None):
        if training:
            return self._hide(x, item_ids)
        return self._append(x, item_ids)

    def _hide(self, x, item_ids):
        real = ops.not_equal(item_ids, 0)
        hidden = self._choose(real)
        x = ops.where(
            ops.expand_dims(hidden, -1), ops.cast(self.mask_embedding, x.dtype), x
        )
        targets = ops.where(hidden, item_ids, ops.zeros_like(item_ids))
        return self._attach_mask((x, real)), targets

    def _choose(self, real):
        """Which positions are hidden; `real` and the result are `(batch, time)`."""
        draw = self._uniform(ops.shape(real))
        hidden = hide_some_but_not_all(draw < self.rate, draw, real)
        if self.last_rate:
            only_last = self._uniform((ops.shape(real)[0], 1)) < self.last_rate
            hidden = ops.where(only_last, is_last(real), hidden)
        return hidden

    def _uniform(self, shape):
        return keras.random.uniform(shape, seed=self.seed_generator, dtype="float32")

    def _append(self, x, item_ids):
        x, real, slot, targets = append_slot(x, item_ids)
        x = ops.where(
            ops.expand_dims(slot, -1), ops.cast(self.mask_embedding, x.dtype), x
        )
        return self._attach_mask((x, ops.logical_or(real, slot))), targets

    def compute_mask(self, inputs, previous_mask=None):
        # Attached in `call`, to the events only.
        return None

    def compute_output_spec(self, x, item_ids, training=None):
        batch, time = item_ids.shape
        if not training and time is not None:
            time += 1
        return (
            keras.KerasTensor((batch, time, x.shape[-1]), dtype=self.compute_dtype),
            keras.KerasTensor((batch, time), dtype=item_ids.dtype),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "rate": self.rate,
            "last_rate": self.last_rate,
            "seed": self.seed,
        }
