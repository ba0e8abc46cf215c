import keras
from keras import ops

from keras_t4r.arguments import one_of, optional, rate, truth, whole_number
from keras_t4r.layers.attach_mask import AttachMask
from keras_t4r.layers.features.aggregations import AGGREGATIONS
from keras_t4r.layers.features.bags import COMBINERS, combine
from keras_t4r.layers.features.column_encoders import (
    build_encoder,
    check_item,
    id_encoders,
    plain_encoders,
)
from keras_t4r.layers.features.columns.column_table import ColumnTable
from keras_t4r.layers.features.feature_fusion import FeatureFusion
from keras_t4r.layers.features.given_encoders import (
    checked_encoders,
    encoders_from_config,
    encoders_to_config,
)
from keras_t4r.layers.features.input_axes import check_axes
from keras_t4r.layers.features.kept_vocabularies import (
    KeepsVocabularies,
    KeptVocabularies,
)
from keras_t4r.layers.features.table_plan import ByColumn, plan_tables
from keras_t4r.quantization import KeepsQuantization
from keras_t4r.schema import Schema, check_schema


@keras.saving.register_keras_serializable(package="keras_t4r")
class SequenceEmbeddingFeatures(
    KeepsQuantization, KeepsVocabularies, keras.layers.Layer
):
    """Turns the columns of a session into one vector an event.

    Each column has an encoder, a layer that gives a vector for each value. Ids are
    looked up in embedding tables (columns of the same domain share one), numbers are
    taken as they are or projected together, vectors as they are, and the rows of a
    bag's ids are combined; `columns` gives other encoders. Values that hold for the
    whole session are repeated over its events. The columns, in order
    of their names, are then aggregated, and projected to `d_output`:

    - `"concat"`: `[x_1; …; x_n]`
    - `"stack"`: the columns on an axis of their own, `(batch, time, n, width)`
    - `"element-wise-sum"`: `x_1 + … + x_n`
    - `"element-wise-sum-item-multi"`: `x_item * (sum of the others)`
    - `"gated"`: `[g_1 x_1; …; g_n x_n]` with `g = sigmoid(W [x_1; …; x_n] + b)`

    Row 0 of every table, the padding, is zero and is never trained. The
    output is zero, and masked, where there is no item.

    Args:
        schema: `Schema`. Its ids and numbers become features, but for columns tagged
            `timestamp`, which are for bodies that read times, and features only where
            `columns` names them; one column must be tagged `item_id`.
        d_output: int. Width of the output. `None` leaves the aggregate as it is.
        embedding_dim: int, `"infer"`, or dict of column name to either. Width of the
            tables; `"infer"` is `inferred_dims(schema)`.
        aggregation: string. One of the above. Those that need columns of one width
            (all but `"concat"` and `"gated"`) project the others linearly to that of
            the items. Or a layer of one's own, which is called with the list of them.
        columns: dict of column name to encoder: a layer of this package, as
            `SoftEmbedding`, or any other that gives a vector for each value, `(batch,
            time)` to `(batch, time, width)`. A list of layers stands for their outputs
            side by side; the name of another column for the encoder of that column.
            That of the item column is a `ColumnTable`.
        combiner: `"mean"`, `"sum"`, `"sqrtn"` (over the root of their number), or dict
            by column. How the rows of the ids of a bag become one.
        continuous_projection: int. Width of a ReLU layer over all numbers together that
            have no encoder. `None` leaves them as they are.
        layer_norm: bool. Normalise each feature before the aggregation, so
            that none drowns the others: tables start near zero, numbers do
            not. A single number, which its norm would make constant, is left
            as it is: give a `continuous_projection` as well.
        feature_dropout: float in [0, 1). Rate of dropout on each feature, before the
            aggregation.
        dropout: float in [0, 1). Rate of dropout on the output.
        embeddings_initializer: initializer of the tables, or dict by column.
        embeddings_regularizer: regularizer of the tables, or dict by column. It is of
            all rows: a step then costs what a table holds, and not what it touches.
        max_length: int. The most events of a session, with the one that comes next:
            what a `SessionModel` reads before it answers is one less. `None` takes
            the schema's.
        vocabularies: dict of column name to `Vocabulary`, kept for whoever asks the
            model in raw ids. Defaults to the schema's. A file of weights says which
            they were: another model's are refused.

    Call arguments:
        inputs: dict of column name to tensor: `(batch, time)` for lists, `(batch, time,
            most)` for vectors and bags, `(batch,)` for the others.

    Returns:
        The pair of the events, `(batch, time, d_output)`, with a mask; and the table
        of items, `(cardinality, dim)`, which heads score with. Where that is a weight,
        and on TensorFlow where a row-sparse optimizer was made, it is the
        variable itself, in its own dtype: whoever gathers rows of it gets a gradient of
        these rows only.

    Example:

    ```python
    features = SequenceEmbeddingFeatures(
        schema, d_output=128, embedding_dim="infer", columns={"age": SoftEmbedding()}
    )
    inputs = schema.inputs()
    x, table = features(inputs)             # (batch, time, 128), (cardinality, 64)
    ```

    References:
    - de Souza Pereira Moreira et al., Transformers4Rec, RecSys 2021.
    """

    def __init__(
        self,
        schema,
        d_output=None,
        embedding_dim=64,
        aggregation="concat",
        columns=None,
        combiner="mean",
        continuous_projection=None,
        layer_norm=False,
        feature_dropout=0.0,
        dropout=0.0,
        embeddings_initializer="embedding_normal",
        embeddings_regularizer=None,
        max_length=None,
        vocabularies=None,
        **kwargs,
    ):
        # Times and large numbers are none in float16: each encoder casts what it gives.
        super().__init__(**{"autocast": False, **kwargs})
        check_schema(schema, needed=True)
        _check_aggregation(aggregation, d_output)
        # Passed arguments.
        self.schema = schema.features
        self.max_length = (
            schema.max_length
            if max_length is None
            else whole_number("max_length", max_length)
        )
        self.d_output = optional(whole_number, "d_output", d_output)
        self.embedding_dim = embedding_dim
        self.aggregation = aggregation
        self.columns = checked_encoders(columns, self.schema)
        bags = [column.name for column in self.schema if column.is_bag]
        self._combiners = ByColumn(
            "combiner", combiner, bags, _checked_combiner, "mean"
        )
        self.continuous_projection = optional(
            whole_number, "continuous_projection", continuous_projection
        )
        self.layer_norm = truth("layer_norm", layer_norm)
        self.feature_dropout = rate("feature_dropout", feature_dropout)
        self.dropout = rate("dropout", dropout)

        # Other arguments.
        self.session_column = schema.session_id
        self._whole_schema = schema
        self.supports_masking = True
        self._item = self.schema[self.schema.item_id]
        plain = [c for c in self.schema if c.name not in self.columns]
        ids = sorted(c.name for c in plain if c.is_categorical)
        self._continuous = sorted(
            c.name
            for c in plain
            if not (c.is_categorical or c.is_timestamp or c.is_vector)
        )
        self._vectors = [c.name for c in plain if c.is_vector]
        self._tables = plan_tables(self.schema, ids, embedding_dim)
        if embeddings_initializer == "embedding_normal":
            embeddings_initializer = None
        self._initializers = ByColumn(
            "embeddings_initializer",
            embeddings_initializer,
            ids,
            keras.initializers.get,
            # Small enough that tied logits start near zero.
            default=keras.initializers.RandomNormal(stddev=0.05),
        )
        self._regularizers = ByColumn(
            "embeddings_regularizer",
            embeddings_regularizer,
            ids,
            keras.regularizers.get,
        )
        check_item(self._item, self.columns, self._tables)
        if vocabularies is None:
            self._vocabularies = KeptVocabularies.of_schema(schema, self.schema)
        else:
            self._vocabularies = KeptVocabularies(vocabularies, self.schema)

    def build(self, input_shape):
        encoders = {
            **self.columns,
            **plain_encoders(self.schema, self._continuous, self.dtype_policy),
            **plain_encoders(self.schema, self._vectors, self.dtype_policy),
            **id_encoders(
                self.schema,
                self._tables,
                self._initializers,
                self._regularizers,
                self.dtype_policy,
            ),
        }
        self._encoders = dict(sorted(encoders.items()))
        shapes = {
            name: (None, None, build_encoder(encoder, self.schema, name))
            for name, encoder in self._encoders.items()
        }
        self._fusion = FeatureFusion(
            self._item.name,
            self._continuous,
            {column.name: column.plain_name for column in self.schema},
            self.aggregation,
            self.d_output,
            self.continuous_projection,
            self.layer_norm,
            self.feature_dropout,
            self.dropout,
            name="fusion",
            dtype=self.dtype_policy,
        )
        self._fusion.build(shapes)
        self._attach_mask = AttachMask(dtype=self.dtype_policy)

    @property
    def tables(self):
        """Dict of table name to its weight, of the tables that were made for ids."""
        return {
            name: self._encoders[table.columns[0]].embeddings
            for name, table in self._tables.items()
        }

    def call(self, inputs, training=None):
        check_axes(inputs, self.schema, self.name)
        mask = ops.not_equal(inputs[self._item.name], 0)
        features, table = self._encode(inputs, training)
        x = self._fusion(features)
        axes = tuple(range(2, 2 + len(self._fusion.event_shape)))
        x = x * ops.cast(ops.expand_dims(mask, axes), x.dtype)
        return self._attach_mask((x, mask)), table

    def _encode(self, inputs, training=None):
        """The features `(batch, time, width)` by name, and the table of items."""
        item = self._encoders[self._item.name]
        ids = inputs[self._item.name]
        vectors, table = item.with_table(ids, training=training)
        time = ops.shape(ids)[1]
        found = {}
        for name, encoder in self._encoders.items():
            column, values = self.schema[name], inputs[name]
            if name == self._item.name:
                x = vectors
            elif encoder is item:
                x = item.look_up(table, values)
                if column.is_bag:
                    x = combine(x, values, self._combiners.of([name]))
            else:
                x = self._encode_other(column, values)
            if not column.is_list:
                x = ops.repeat(ops.expand_dims(x, 1), time, axis=1)
            found[name] = x
        return found, table

    def _encode_other(self, column, values):
        encoder = self._encoders[column.name]
        x = ops.cast(encoder(values), self.compute_dtype)
        if not column.is_categorical:
            return x
        if column.is_bag and isinstance(encoder, ColumnTable):
            return combine(x, values, self._combiners.of([column.name]))
        # Of a bag the layer made one vector itself.
        real = ops.not_equal(values, 0)
        real = (
            ops.any(real, axis=-1, keepdims=True) if column.is_bag else real[..., None]
        )
        return x * ops.cast(real, x.dtype)

    def compute_mask(self, inputs, previous_mask=None):
        # Of the events only. Beside values it was attached in `call`; while a graph is
        # made it has to be a tensor of that graph.
        ids = inputs[self._item.name]
        return [ops.not_equal(ids, 0)] if keras.utils.is_keras_tensor(ids) else None

    def compute_output_spec(self, inputs, training=None):
        check_axes(inputs, self.schema, self.name)
        batch, time = inputs[self._item.name].shape
        item = self._encoders[self._item.name]
        shape = (batch, time, *self._fusion.event_shape)
        return (
            keras.KerasTensor(shape, dtype=self.compute_dtype),
            keras.KerasTensor((item.rows, item.dim), dtype=item.variable_dtype),
        )

    def get_config(self):
        config = super().get_config()
        aggregation = self.aggregation
        if not isinstance(aggregation, str):
            aggregation = keras.saving.serialize_keras_object(aggregation)
        config.update(
            schema=self._whole_schema.to_text(),
            d_output=self.d_output,
            embedding_dim=self.embedding_dim,
            aggregation=aggregation,
            columns=encoders_to_config(self.columns),
            combiner=self._combiners.config(str),
            continuous_projection=self.continuous_projection,
            layer_norm=self.layer_norm,
            feature_dropout=self.feature_dropout,
            dropout=self.dropout,
            embeddings_initializer=self._initializers.config(
                keras.initializers.serialize
            ),
            embeddings_regularizer=self._regularizers.config(
                keras.regularizers.serialize
            ),
            max_length=self.max_length,
            vocabularies=self._vocabularies.fingerprints,
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["schema"] = Schema.from_text(config["schema"])
        config["columns"] = encoders_from_config(config["columns"])
        if not isinstance(config["aggregation"], str):
            config["aggregation"] = keras.saving.deserialize_keras_object(
                config["aggregation"]
            )
        return cls(**config)


def _checked_combiner(combiner):
    one_of("combiner", combiner, COMBINERS)
    return combiner


def _check_aggregation(aggregation, d_output):
    own = isinstance(aggregation, keras.layers.Layer)
    if not own and (
        not isinstance(aggregation, str) or aggregation not in AGGREGATIONS
    ):
        raise ValueError(
            f"aggregation must be one of {tuple(AGGREGATIONS)}, or a layer, not "
            f"{aggregation!r}."
        )
    if aggregation == "stack" and d_output is not None:
        raise ValueError(
            'aggregation="stack" gives a vector a feature and event, and not one an '
            "event that d_output could be the width of: leave d_output out."
        )
