import keras
from keras import ops

from keras_t4r.backend import add_at_columns, shapes_are_fixed
from keras_t4r.losses.sample_softmax import sample_softmax
from keras_t4r.losses.softmax_cross_entropy import softmax_cross_entropy


@keras.saving.register_keras_serializable(package="keras_t4r")
class NextItemHead(keras.layers.Layer):
    """Scores all items for the event that comes next.

    `score[i] = (h · e_i + b_i) / temperature`, with `h` the body's output at a
    position and `e_i` row `i` of the item table.

    In training only positions that have a target are scored; the mean
    cross-entropy over the batch's targets is added as the layer's loss (see
    `softmax_cross_entropy`), and the output is empty, `(batch, 0)`. In
    inference the last position that is not padding is scored. Ids below
    `first_id`, which are no items, score minus infinity, and neither they nor
    padding are ever a target.

    Args:
        item_embedding: the `item_embedding` of a `SequenceEmbeddingFeatures`.
        tied: bool. Score with that table; else with a table of the head's own.
        bias: bool. Learn a bias for each item.
        temperature: float.
        normalize: bool. Scale `h` and `e_i` to length 1, so that the scores are
            cosines; goes with a temperature of about 0.05.
        label_smoothing: float in [0, 1).
        dropout: float. Rate of dropout on `h`.
        repeat_last: bool. Whether the item of the last event may come next. `False`
            where the log had repeats dropped, as by `SessionETL`: it then scores
            minus infinity in inference. Needs `item_ids`.
        memory: `TransitionMemory`, or `None`. Answers together with the network, which
            trains alone. The scores are then logarithms of probabilities. Needs
            `item_ids`.
        sample_replacements: bool. Also return the session's items with an item drawn
            from the scores' softmax in place of each target, for
            `ReplacedTokenDetection`. Needs `item_ids`, and a scheme whose targets are
            the events' own items.
        seed: int. Seed of what is drawn.

    Call arguments:
        x: tensor `(batch, time, width)`, with a mask.
        targets: int tensor `(batch, time)`, 0 where there is none.
        table: tensor `(cardinality, dim)`. Filled in by the head itself where
            it is tied.
        item_ids: int tensor `(batch, time)`. The session's items, 0 is padding.
        x_mask: bool tensor `(batch, time)`. Defaults to the mask that `x` carries.

    Returns:
        A float32 tensor `(batch, cardinality)` of scores; `(batch, 0)` in
        training. With `sample_replacements` a pair of that and the items
        `(batch, time)`, which in inference are `item_ids` as they are.

    Example:

    ```python
    outputs = NextItemHead(features.item_embedding)(x, targets)
    ```

    References:
    - Press and Wolf, Using the Output Embedding, EACL 2017 (tied tables).
    - Gupta et al., NISER, 2019 (normalised scores).
    """

    def __init__(
        self,
        item_embedding=None,
        tied=True,
        bias=True,
        temperature=1.0,
        normalize=False,
        label_smoothing=0.0,
        dropout=0.0,
        repeat_last=True,
        memory=None,
        sample_replacements=False,
        seed=None,
        **kwargs,
    ):
        shape = {k: kwargs.pop(k, None) for k in ("cardinality", "first_id", "dim")}
        super().__init__(**kwargs)
        if item_embedding is None and None in shape.values():
            raise ValueError(
                "NextItemHead needs the item table to score with: pass "
                "features.item_embedding."
            )
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, not {temperature}.")
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing must lie in [0, 1), not at {label_smoothing}."
            )
        # Passed arguments.
        self.tied = tied
        self.bias = bias
        self.temperature = temperature
        self.normalize = normalize
        self.label_smoothing = label_smoothing
        self.dropout = dropout
        self.repeat_last = repeat_last
        self.memory = memory
        self.sample_replacements = sample_replacements
        self.seed = seed

        # Other arguments.
        self._embedding = item_embedding
        for key, value in shape.items():
            setattr(self, key, getattr(item_embedding, key) if value is None else value)
        if sample_replacements:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def __call__(self, x, targets, table=None, **kwargs):
        if self.tied and table is None:
            if self._embedding is None:
                raise ValueError(
                    f"{self.name!r} is tied to an item table but was rebuilt without "
                    "one: pass it as `table`."
                )
            table = self._embedding.table(like=x)
        if self.tied:
            kwargs["table"] = table
        needs = [
            name
            for name, does in (
                ("repeat_last=False", not self.repeat_last),
                ("a memory", self.memory is not None),
                ("sample_replacements", self.sample_replacements),
            )
            if does
        ]
        if needs and kwargs.get("item_ids") is None:
            raise ValueError(
                f"NextItemHead with {' and '.join(needs)} needs the session's items: "
                "call it with item_ids=inputs[schema.item_id]."
            )
        return super().__call__(x, targets, **kwargs)

    def build(self, x_shape, targets_shape=None, table_shape=None, item_ids_shape=None):
        if not self.tied:
            self.own_table = self.add_weight(
                name="item_embedding",
                shape=(self.cardinality, self.dim),
                initializer=keras.initializers.RandomNormal(stddev=0.05),
                autocast=False,
            )
        if self.bias:
            self.item_bias = self.add_weight(
                name="item_bias",
                shape=(self.cardinality - self.first_id,),
                initializer="zeros",
                autocast=False,
            )
        self._projection = None
        if x_shape[-1] != self.dim:
            self._projection = keras.layers.Dense(
                self.dim, name="projection", dtype=self.dtype_policy
            )
            self._projection.build(x_shape)
        self._dropout = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, x, targets, table=None, item_ids=None, x_mask=None, training=None):
        table = ops.convert_to_tensor(self.own_table if table is None else table)
        # Ids below the first are no items: they are not among the classes.
        items = ops.cast(table[self.first_id :], "float32")
        bias = ops.convert_to_tensor(self.item_bias) if self.bias else None
        if self.normalize:
            items = _unit(items)
        if training:
            scores = ops.zeros((ops.shape(x)[0], 0), dtype="float32")
            items = self._train(x, targets, items, bias, item_ids)
            return (scores, items) if self.sample_replacements else scores
        scores = self._scores(_last(x, x_mask), items, bias)
        if self.memory is not None:
            scores = self._with_memory(scores, item_ids)
        if not self.repeat_last:
            scores = self._without_last(scores, item_ids)
        return (scores, item_ids) if self.sample_replacements else scores

    def _hidden(self, x, training):
        if self._projection is not None:
            x = self._projection(x)
        x = ops.cast(self._dropout(x, training=training), "float32")
        return _unit(x) if self.normalize else x

    def _train(self, x, targets, items, bias, item_ids):
        """Adds the loss; returns `item_ids` with replacements, where asked to."""
        x = ops.reshape(x, (-1, x.shape[-1]))
        flat = ops.reshape(targets, (-1,))
        wanted = ops.greater_equal(flat, self.first_id)
        at = None
        if not shapes_are_fixed():
            (at,) = ops.nonzero(wanted)
            x, flat = ops.take(x, at, axis=0), ops.take(flat, at)
            weights = ops.ones_like(flat, dtype="float32")
        else:
            # Shapes are fixed there: rows without a target weigh nothing.
            weights = ops.cast(wanted, "float32")
        hidden = self._hidden(x, training=True)
        loss = softmax_cross_entropy(
            hidden,
            items,
            bias,
            ops.maximum(flat - self.first_id, 0),
            weights,
            temperature=self.temperature,
            label_smoothing=self.label_smoothing,
        )
        self.add_loss(loss / ops.maximum(ops.sum(weights), 1.0))
        if not self.sample_replacements:
            return None
        draw = keras.random.uniform(ops.shape(flat), seed=self.seed_generator)
        drawn = sample_softmax(hidden, items, bias, draw, self.temperature)
        drawn = ops.cast(drawn + self.first_id, item_ids.dtype)
        return _put(drawn, at, wanted, item_ids)

    def _scores(self, x, items, bias):
        hidden = self._hidden(x, training=False)
        scores = ops.matmul(hidden, ops.transpose(items))
        if bias is not None:
            scores = scores + bias
        scores = scores / self.temperature
        nothing = ops.full((ops.shape(x)[0], self.first_id), -float("inf"), "float32")
        return ops.concatenate([nothing, scores], axis=1)

    def _with_memory(self, scores, item_ids):
        """`log((m + strength * softmax(scores)) / (sum(m) + strength))`."""
        ids, evidence = self.memory(item_ids)
        m = add_at_columns(ops.zeros_like(scores), ids, evidence)
        network = scores - ops.logsumexp(scores, axis=1, keepdims=True)
        # In logarithms, so that improbable items keep their order.
        strength = ops.convert_to_tensor(self.memory.strength)
        mixed = ops.logaddexp(network + ops.log(strength), ops.log(m))
        total = ops.sum(m, axis=1, keepdims=True) + strength
        return ops.where(scores > -float("inf"), mixed - ops.log(total), -float("inf"))

    def _without_last(self, scores, item_ids):
        real = ops.not_equal(item_ids, 0)
        last = _last(ops.expand_dims(item_ids, -1), real)
        items = ops.arange(self.cardinality, dtype=item_ids.dtype)[None, :]
        return ops.where(ops.equal(items, last), -float("inf"), scores)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(
        self, x, targets, table=None, item_ids=None, x_mask=None, training=None
    ):
        width = 0 if training else self.cardinality
        scores = keras.KerasTensor((x.shape[0], width), dtype="float32")
        if not self.sample_replacements:
            return scores
        return scores, keras.KerasTensor(item_ids.shape, dtype=item_ids.dtype)

    @classmethod
    def from_config(cls, config):
        memory = config.get("memory")
        if isinstance(memory, dict):
            memory = keras.saving.deserialize_keras_object(memory)
        return cls(**{**config, "memory": memory})

    def get_config(self):
        return {
            **super().get_config(),
            "cardinality": self.cardinality,
            "first_id": self.first_id,
            "dim": self.dim,
            "tied": self.tied,
            "bias": self.bias,
            "temperature": self.temperature,
            "normalize": self.normalize,
            "label_smoothing": self.label_smoothing,
            "dropout": self.dropout,
            "repeat_last": self.repeat_last,
            "sample_replacements": self.sample_replacements,
            "seed": self.seed,
            "memory": self.memory and keras.saving.serialize_keras_object(self.memory),
        }


def _put(values, at, wanted, item_ids):
    """`item_ids` with `values` where `wanted`, of the flat positions `at` or of all."""
    flat = ops.reshape(item_ids, (-1,))
    if at is None:
        flat = ops.where(wanted, values, flat)
    else:
        flat = ops.scatter_update(flat, ops.expand_dims(at, -1), values)
    return ops.reshape(flat, ops.shape(item_ids))


def _last(x, mask):
    """The last real position of each row, `(batch, width)`; the first if none is."""
    if mask is None:
        raise ValueError(
            "NextItemHead cannot tell which position is the last: its input carries "
            "no mask. A layer before it dropped the mask; wrap that in a "
            "TransformerBlock, which hands masks on, or pass x_mask."
        )
    position = ops.arange(ops.shape(x)[1])[None, :]
    last = ops.max(position * ops.cast(mask, position.dtype), axis=1)
    index = ops.cast(last, "int32")[:, None, None]
    return ops.take_along_axis(x, index, axis=1)[:, 0]


def _unit(x):
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)
