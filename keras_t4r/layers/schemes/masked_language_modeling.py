import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, number
from keras_t4r.layers.schemes.hidden_events import hide_some_but_not_all
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.layers.schemes.scheme_mask import is_last, is_next


@keras.saving.register_keras_serializable(package="keras_t4r")
class MaskedLanguageModeling(MaskingScheme):
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
        item_ids: int tensor `(batch, time)`; 0 is padding. Or a list; see
            `MaskingScheme`.

    Returns:
        The pair of the events to encode, with a mask, and the targets, 0 where there
        is none, -1 at the position that is asked in inference: `time` positions in
        training, `time + 1` in inference.

    Example:

    ```python
    x, targets = MaskedLanguageModeling(rate=0.3)(x, inputs[schema.item_id])
    ```

    References:
    - Devlin et al., BERT, NAACL 2019.
    - Sun et al., BERT4Rec, CIKM 2019.
    """

    appends = True

    def __init__(self, rate=0.15, last_rate=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        # Passed arguments.
        self.rate = number("rate", rate, above=0, below=1)
        self.last_rate = number("last_rate", last_rate, least=0, most=1)
        self.seed = drawing_seed(seed)

        # Other arguments.
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def build(self, x_shape, item_ids_shape=None):
        self.mask_embedding = self.add_weight(
            name="mask_embedding",
            shape=(x_shape[-1],),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
        )

    def train(self, x, real, mask):
        hidden = self._choose(real)
        return self._replace(x, hidden), hidden

    def serve(self, x, real, mask):
        slot = is_next(real)
        return self._replace(x, slot), slot

    def _replace(self, x, hidden):
        vector = ops.cast(self.mask_embedding, x.dtype)
        return ops.where(ops.expand_dims(hidden, -1), vector, x)

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

    def get_config(self):
        return {
            **super().get_config(),
            "rate": self.rate,
            "last_rate": self.last_rate,
            "seed": self.seed,
        }
