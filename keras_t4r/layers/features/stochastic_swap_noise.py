import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, number


@keras.saving.register_keras_serializable(package="keras_t4r")
class StochasticSwapNoise(keras.layers.Layer):
    """Swaps some values of the events for others of the same batch, in training.

    Each value of a column is replaced with probability `rate` by the value that the
    column has at another real event of the batch, drawn evenly; for a column of one
    value a session, at another session that is not empty. Columns are swapped
    independently of each other. Padding stays padding and is never drawn.

    Give the noisy columns to the features only: scheme and head take the items as
    they were, which are what is to be predicted.

    Args:
        item_id: string. Name of the item column, whose zeros are padding: the
            `item_id` of a `Schema`.
        rate: float in [0, 1). Probability that a value is replaced.
        seed: int. Seed of the random choice.

    Call arguments:
        inputs: dict of column to tensor, `(batch, time)`, `(batch, time, most)` or
            `(batch,)`.
        training: bool. Whether values are swapped; in inference none are.

    Returns:
        A dict of the same columns, shapes and dtypes.

    Raises:
        TypeError: `rate` is no number, or `seed` no whole one.
        ValueError: `rate` does not lie in [0, 1), or there is no item column.

    Example:

    ```python
    inputs = schema.inputs()
    x, table = features(StochasticSwapNoise(schema.item_id, rate=0.1)(inputs))
    x, targets = CausalLanguageModeling()(x, inputs[schema.item_id])
    ```

    References:
    - Jahrer, Porto Seguro's Safe Driver Prediction, first place, Kaggle 2017 (swap
      noise).
    - de Souza Pereira Moreira et al., Transformers4Rec, RecSys 2021.
    """

    def __init__(self, item_id, rate=0.1, seed=None, **kwargs):
        super().__init__(**kwargs)
        # Passed arguments.
        self.item_id = item_id
        self.rate = number("rate", rate, least=0, below=1)
        self.seed = drawing_seed(seed)

        # Other arguments.
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.built = True

    def call(self, inputs, training=None):
        if self.item_id not in inputs:
            raise ValueError(
                f"{self.name!r} finds padding by the column {self.item_id!r}, which "
                f"its input has not; it has {sorted(inputs)}."
            )
        if not training or not self.rate:
            return dict(inputs)
        real = ops.not_equal(inputs[self.item_id], 0)
        session = ops.any(real, axis=1)
        return {
            # Sorted, so that the same seed swaps the same values in any order.
            name: self._swap(inputs[name], real if x.ndim > 1 else session)
            for name, x in sorted(inputs.items())
        }

    def _swap(self, x, real):
        swapped = ops.logical_and(self._uniform(ops.shape(real)) < self.rate, real)
        flat = ops.reshape(real, (-1,))
        # The place of the n-th real value is where the count of them reaches n.
        count = ops.cumsum(ops.cast(flat, "int32"))
        total = ops.cast(count[-1], "float32")
        draw = self._uniform(ops.shape(flat)) * total
        nth = ops.minimum(ops.cast(draw, "int32") + 1, count[-1])
        place = ops.minimum(ops.searchsorted(count, nth), ops.shape(flat)[0] - 1)
        # A vector or a bag of an event is swapped whole.
        inner = x.shape[len(real.shape) :]
        other = ops.take(ops.reshape(x, (-1, *inner)), place, axis=0)
        axes = tuple(range(len(real.shape), len(x.shape)))
        swapped = ops.expand_dims(swapped, axes) if axes else swapped
        return ops.where(swapped, ops.reshape(other, ops.shape(x)), x)

    def _uniform(self, shape):
        return keras.random.uniform(shape, seed=self.seed_generator, dtype="float32")

    def compute_output_spec(self, inputs, training=None):
        return {k: keras.KerasTensor(x.shape, dtype=x.dtype) for k, x in inputs.items()}

    def get_config(self):
        return {
            **super().get_config(),
            "item_id": self.item_id,
            "rate": self.rate,
            "seed": self.seed,
        }
