import keras
from keras import ops

from keras_t4r.arguments import drawing_seed
from keras_t4r.layers.heads.next_item_head import NextItemHead
from keras_t4r.layers.heads.softmax_sampling import sample_softmax


@keras.saving.register_keras_serializable(package="keras_t4r")
class GeneratorHead(NextItemHead):
    """A `NextItemHead` that also replaces the items that it predicts.

    In training each target is replaced, in a copy of the session's items, by an item
    drawn from the softmax of the scores at its position, for `ReplacedTokenDetection`.
    No gradient flows through the draw. The scheme must be one whose targets are the
    events' own items, such as `MaskedLanguageModeling`.

    Args:
        seed: int. Seed of what is drawn.
        **kwargs: of `NextItemHead`.

    Call arguments:
        x, targets, table, sample_weight: as of `NextItemHead`.
        item_ids: int tensor `(batch, time)`. The session's items, 0 is padding.

    Returns:
        The pair of the scores, as of `NextItemHead`, and the items `(batch, time)` with
        the replacements in them; in inference the items as they are.

    Example:

    ```python
    scores, replaced = GeneratorHead()(x, targets, table, items)
    ```

    References:
    - Clark et al., ELECTRA, ICLR 2020.
    """

    def __init__(self, *args, seed=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.seed = drawing_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def build(
        self,
        x_shape,
        targets_shape=None,
        table_shape=None,
        item_ids_shape=None,
        sample_weight_shape=None,
    ):
        super().build(x_shape, targets_shape, table_shape)

    def call(self, x, targets, table, item_ids, sample_weight=None, training=None):
        if not training:
            return self._scores(x, targets, table), item_ids
        hidden, at = self._train(x, targets, table, sample_weight)
        draw = keras.random.uniform(ops.shape(hidden)[:1], seed=self.seed_generator)
        drawn = sample_softmax(hidden, self._rows(table), self._bias(), draw)
        drawn = ops.cast(drawn, item_ids.dtype)
        flat = ops.reshape(item_ids, (-1,))
        if at is None:
            wanted = ops.reshape(targets, (-1,)) >= self.first_id
            flat = ops.where(wanted, drawn, flat)
        else:
            flat = ops.scatter_update(flat, ops.expand_dims(at, -1), drawn)
        scores = ops.zeros((ops.shape(x)[0], 0), dtype="float32")
        return scores, ops.reshape(flat, ops.shape(item_ids))

    def compute_output_spec(
        self, x, targets, table, item_ids, sample_weight=None, training=None
    ):
        scores = super().compute_output_spec(x, targets, table)
        return scores, keras.KerasTensor(item_ids.shape, dtype=item_ids.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
