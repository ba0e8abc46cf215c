import keras
from keras import ops

from keras_t4r.arguments import number, optional, rate, truth, whole_number
from keras_t4r.backend import as_table, shapes_are_fixed
from keras_t4r.layers.heads.weighing import (
    add_weighed_loss,
    over_events,
    sessions_weight,
)
from keras_t4r.layers.schemes.masking_scheme import ASKED
from keras_t4r.layers.sharded_rows import ShardedRows
from keras_t4r.losses.full_softmax import FullSoftmax
from keras_t4r.losses.item_rows import ItemRows, unit
from keras_t4r.losses.next_item_loss import NextItemLoss, get_loss
from keras_t4r.losses.own_copy import own_copy
from keras_t4r.quantization import KeepsQuantization

# The score's bias of ids that are no items. Finite, so that 0 times it is 0.
_NO_ITEM = -1e9
# Beyond them scores are all alike, or so far apart that a loss is no number.
_TEMPERATURES = 1e-4, 1e4


@keras.saving.register_keras_serializable(package="keras_t4r")
class NextItemHead(KeepsQuantization, ShardedRows, keras.layers.Layer):
    """Scores all items for the event that comes next.

    `score[i] = (h · e_i + b_i) / temperature`, with `h` the body's output at a
    position, projected where its width is another, and `e_i` row `i` of the table.

    In training the positions that have a target are handed to the loss object, and the
    mean over the batch's targets is added as the layer's loss; the output is empty,
    `(batch, 0)`. In inference the position that the scheme asks is scored. Ids below
    `first_id`, which are no items, score minus infinity, and neither they nor padding
    are ever a target.

    Args:
        loss: `keras_t4r.losses.NextItemLoss`, or any object with such a `call`. `None`
            for `FullSoftmax()`. The head keeps a copy of a `NextItemLoss`, with states
            of its own, as `head.loss`.
        cardinality: int. Rows of a table of the head's own: the column's highest id
            plus one. `None` where the head is called with a table.
        first_id: int. The lowest id that is an item: 2 where id 1 stands for unknown
            values, as the ETL has it, and else 1. A `SessionModel` compares it with
            the schema.
        target: string. The column that the targets are of. `None` for the items.
        bias: bool. Learn a bias for each item.
        temperature: float from 1e-4 to 1e4.
        normalize: bool. Scale `h` and `e_i` to length 1, so that the scores are
            cosines; goes with a temperature of about 0.05.
        dropout: float in [0, 1). Rate of dropout on `h`.

    Call arguments:
        x: tensor `(batch, time, width)`.
        targets: int tensor `(batch, time)`, as of a masking scheme: an id where there
            is a target, 0 where there is none, -1 at the position that is asked.
        table: tensor `(V, dim)`, as of `SequenceEmbeddingFeatures`; or `None` with a
            `cardinality`.
        sample_weight: float tensor `(batch,)` or `(batch, time)`. What each session, or
            event, counts in the loss, times what `fit` of a `SessionModel` was given,
            which is of sessions.

    Returns:
        A float32 tensor `(batch, V)` of scores; `(batch, 0)` in training.

    Raises:
        TypeError: `loss` has no such `call`, or is a loss of Keras; or an argument is
            no number.
        ValueError: there is neither table nor `cardinality`, or they differ; they have
            no items; or a number is out of its range.

    Example:

    ```python
    x, table = features(inputs)
    x, targets = CausalLanguageModeling()(x, inputs[schema.item_id])
    scores = NextItemHead()(block(x), targets, table)
    ```

    References:
    - Press and Wolf, Using the Output Embedding, EACL 2017 (the shared table).
    - Gupta et al., NISER, 2019 (normalised scores).
    """

    def __init__(
        self,
        loss=None,
        cardinality=None,
        first_id=2,
        target=None,
        bias=True,
        temperature=1.0,
        normalize=False,
        dropout=0.0,
        **kwargs,
    ):
        # Not cast: a table in half precision would be another table, made whole.
        super().__init__(**{"autocast": False, **kwargs})
        # Passed arguments.
        self._loss = own_copy(get_loss(FullSoftmax() if loss is None else loss))
        self.cardinality = optional(whole_number, "cardinality", cardinality)
        self.first_id = whole_number("first_id", first_id)
        self.target = target
        self.bias = truth("bias", bias)
        self.temperature = number("temperature", temperature, *_TEMPERATURES)
        self.normalize = truth("normalize", normalize)
        self.dropout = rate("dropout", dropout)

        # Other arguments.
        # Keras finds the state of what is drawn on layers only.
        self.seeds_of_loss = list(getattr(self.loss, "seed_generators", ()))
        self.supports_masking = True

    def build(
        self, x_shape, targets_shape=None, table_shape=None, sample_weight_shape=None
    ):
        if table_shape is None and self.cardinality is None:
            raise ValueError(
                f"{self.name!r} has no table to score with: call it with the table of "
                "the features, head(x, targets, table), or make it with a cardinality."
            )
        if table_shape is not None and self.cardinality not in (None, table_shape[0]):
            raise ValueError(
                f"{self.name!r} was made for {self.cardinality} ids, but the table "
                f"that it is called with has {table_shape[0]} rows: leave one out."
            )
        rows, dim = table_shape or (self.cardinality, x_shape[-1])
        if rows <= self.first_id:
            raise ValueError(
                f"{self.name!r} has {rows} ids, and those below {self.first_id} are no "
                "items: there is nothing to score."
            )
        # Ids that are scored, those that are no items among them.
        self.rows = rows
        self.own_table = None
        if table_shape is None:
            initializer = keras.initializers.RandomNormal(stddev=0.05)
            self.own_table = self.add_table("item_embedding", rows, dim, initializer)
        if self.bias:
            # Of all ids, so that an id is its place; those of no items stay 0.
            self.item_bias = self.add_weight(
                name="item_bias", shape=(rows,), initializer="zeros", autocast=False
            )
        if hasattr(self.loss, "build"):
            self.loss.build(self, rows, self.first_id)
        self._projection = None
        if x_shape[-1] != dim:
            self._projection = keras.layers.Dense(
                dim, name="projection", dtype=self.dtype_policy
            )
            self._projection.build(x_shape)
        self._dropout = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    @property
    def loss(self):
        return self._loss

    @loss.setter
    def loss(self, value):
        raise AttributeError(
            f"The loss of {self.name!r} cannot be changed, for it has built what it "
            "needs: make another NextItemHead(loss=…)."
        )

    def check_loss(self):
        """Raises `ValueError` where the loss cannot train yet."""
        if isinstance(self.loss, NextItemLoss):
            self.loss.check()

    # The vectors whose product is the score.

    def query(self, x, training=None):
        """What outputs of the body ask for.

        Args:
            x: tensor `(…, width)`.

        Returns:
            A float32 tensor `(…, dim)`, with a bias `(…, dim + 1)`: its product with
            `items` is the score.
        """
        hidden = self._hidden(x, training)
        if not self.bias:
            return hidden
        one = ops.full_like(hidden[..., :1], 1.0 / self.temperature)
        return ops.concatenate([hidden, one], axis=-1)

    def items(self, table=None, ids=None):
        """What each id answers with.

        Args:
            table: tensor `(V, dim)`; `None` for the head's own.
            ids: int tensor of any shape; `None` for all.

        Returns:
            A float32 tensor `(V, dim)`, with a bias `(V, dim + 1)`; of given ids
            `(*ids, dim)` or `(*ids, dim + 1)`. Rows below `first_id` are no items.
        """
        if ids is None:
            rows = ops.cast(self._rows(table), "float32")
            bias = self._bias() if self.bias else None
        else:
            bias = as_table(self.item_bias) if self.bias else None
            items = ItemRows(self._table(table), bias, self.temperature, self.normalize)
            rows = items.vectors(ids)
            bias = items.biases(ids) if self.bias else None
        if bias is None:
            return rows
        # The query has the temperature.
        column = ops.expand_dims(bias * self.temperature, -1)
        return ops.concatenate([rows, column], axis=-1)

    def asked(self, x, targets):
        """The output of the body that answers: `(batch, width)`, of the asked position.

        Args:
            x, targets: as of a call.
        """
        asked = ops.cast(ops.equal(targets, ASKED), "int32")
        index = ops.cast(ops.argmax(asked, axis=1), "int32")[:, None, None]
        return ops.take_along_axis(x, index, axis=1)[:, 0]

    def call(self, x, targets, table=None, sample_weight=None, training=None):
        if training:
            self._train(x, targets, table, sample_weight)
            return ops.zeros((ops.shape(x)[0], 0), dtype="float32")
        return self._scores(x, targets, table)

    def _hidden(self, x, training):
        if self._projection is not None:
            x = self._projection(x)
        x = ops.cast(self._dropout(x, training=training), "float32")
        return (unit(x) if self.normalize else x) / self.temperature

    def _rows(self, table):
        table = ops.convert_to_tensor(self._table(table))
        return unit(ops.cast(table, "float32")) if self.normalize else table

    def _table(self, table):
        return self.rows_of(self.own_table) if table is None else table

    def _bias(self):
        """The bias of all ids, divided by the temperature."""
        bias = ops.zeros((self.rows,), "float32")
        if self.bias:
            bias = ops.cast(ops.convert_to_tensor(self.item_bias), "float32")
        item = ops.arange(self.rows) >= self.first_id
        return ops.where(item, bias / self.temperature, _NO_ITEM)

    def _train(self, x, targets, table, sample_weight):
        """Adds the loss; returns what it was computed from.

        Returns:
            `(hidden, at)`: the loss's first argument, and the flat positions that it
            is of, `None` for all.
        """
        width, shape = x.shape[-1], ops.shape(targets)
        x, ids = ops.reshape(x, (-1, width)), ops.reshape(targets, (-1,))
        wanted = ops.greater_equal(ids, self.first_id)
        counts, at = ops.cast(wanted, "float32"), None
        weights = counts
        for given in (sample_weight, sessions_weight(self)):
            if given is not None:
                weights = weights * ops.reshape(over_events(given, shape), (-1,))
        count = ops.sum(counts)
        if not shapes_are_fixed():
            (at,) = ops.nonzero(wanted)
            x, ids, weights = (ops.take(v, at, axis=0) for v in (x, ids, weights))
        hidden = self._hidden(x, training=True)
        # Rows without a target, which weigh nothing, take any item's.
        ids = ops.maximum(ids, self.first_id)
        if hasattr(self.loss, "call_on_rows"):
            bias = as_table(self.item_bias) if self.bias else None
            items = ItemRows(self._table(table), bias, self.temperature, self.normalize)
            loss = self.loss.call_on_rows(hidden, items, ids, weights)
        else:
            rows = self._rows(table)
            loss = self.loss.call(hidden, rows, self._bias(), ids, weights)
        add_weighed_loss(self, self._scalar(loss), count)
        return hidden, at

    def _scalar(self, loss):
        shape = getattr(loss, "shape", ())
        # TensorFlow may not know it.
        if loss is not None and (getattr(shape, "rank", 0) is None or len(shape) == 0):
            return loss
        found = "nothing" if loss is None else f"a tensor of shape {tuple(shape)}"
        raise ValueError(
            f"The loss of {self.name!r}, a {type(self.loss).__name__}, returned {found}"
            "; it should return a scalar, the sum over the targets of weight times "
            "loss."
        )

    def _scores(self, x, targets, table):
        x = self.asked(x, targets)
        # Ids below the first are no items: they are not among the classes.
        rows = self._rows(table)
        items = ops.cast(rows[self.first_id :], "float32")
        scores = ops.matmul(self._hidden(x, training=False), ops.transpose(items))
        if self.bias:
            bias = ops.cast(ops.convert_to_tensor(self.item_bias), "float32")
            scores = scores + bias[self.first_id :] / self.temperature
        nothing = ops.full((ops.shape(x)[0], self.first_id), -float("inf"), "float32")
        return ops.concatenate([nothing, scores], axis=1)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(
        self, x, targets, table=None, sample_weight=None, training=None
    ):
        # No column in training, all ids in inference.
        return keras.KerasTensor((x.shape[0], None), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "loss": keras.saving.serialize_keras_object(self.loss),
            "cardinality": self.cardinality,
            "first_id": self.first_id,
            "target": self.target,
            "bias": self.bias,
            "temperature": self.temperature,
            "normalize": self.normalize,
            "dropout": self.dropout,
        }
