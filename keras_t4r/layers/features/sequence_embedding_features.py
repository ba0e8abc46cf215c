import keras
from keras import ops

from keras_t4r.arguments import one_of, optional, rate, whole_number
from keras_t4r.layers.attach_mask import AttachMask
from keras_t4r.layers.features.aggregations import AGGREGATIONS
from keras_t4r.layers.features.bags import COMBINERS, combine
from keras_t4r.layers.features.columns.column_table import ColumnTable
from keras_t4r.layers.features.columns.given_vectors import GivenVectors
from keras_t4r.layers.features.columns.id_embedding import IdEmbedding
from keras_t4r.layers.features.columns.numbers import Numbers
from keras_t4r.layers.features.feature_fusion import FeatureFusion
from keras_t4r.layers.features.given_encoders import (
    checked_encoders,
    encoders_from_config,
    encoders_to_config,
)
from keras_t4r.layers.features.kept_vocabularies import (
    KeepsVocabularies,
    KeptVocabularies,
)
from keras_t4r.layers.features.table_plan import ByColumn, plan_tables
from keras_t4r.quantization import KeepsQuantization
from keras_t4r.schema import Schema


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
        of items, `(cardinality, dim)`, which heads score with. Without an encoder for
        the items the table is the variable itself, in its own dtype: whoever gathers
        rows of it gets a gradient of these rows only, on TensorFlow.

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
        self.layer_norm = layer_norm
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
        self._check_item()
        if vocabularies is None:
            self._vocabularies = KeptVocabularies.of_schema(schema, self.schema)
        else:
            self._vocabularies = KeptVocabularies(vocabularies, self.schema)

    def _check_item(self):
        item = self._item
        encoder = self.columns.get(item.name)
        if encoder is None:
            rows = self._tables[item.table_name].rows
            if rows > item.cardinality:
                raise ValueError(
                    f"The item column {item.name!r} has {item.cardinality} ids, but "
                    f"another column of its domain {item.table_name!r} has {rows}: "
                    "give both the same domain."
                )
        elif not isinstance(encoder, ColumnTable):
            raise TypeError(
                f"The encoder of the item column {item.name!r} is a "
                f"{type(encoder).__name__}, which has no table for heads to score "
                "with: give it a ColumnTable, as PretrainedEmbedding or ItemContent."
            )

    def build(self, input_shape):
        self._encoders = dict(sorted(self._make_encoders().items()))
        shapes = {
            name: (None, None, self._build_encoder(name)) for name in self._encoders
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

    def _make_encoders(self):
        """The encoder of each column, by its name."""
        found = {**self.columns}
        for table in self._tables.values():
            encoder = IdEmbedding(
                table.rows,
                table.dim,
                self._initializers.of(table.columns),
                self._regularizers.of(table.columns),
                name=f"{self.schema[table.columns[0]].plain_name}_embedding",
                dtype=self.dtype_policy,
            )
            found.update(dict.fromkeys(table.columns, encoder))
        for name in self._continuous:
            found[name] = Numbers(
                name=f"{self.schema[name].plain_name}_number", dtype=self.dtype_policy
            )
        for name in self._vectors:
            found[name] = GivenVectors(
                name=f"{self.schema[name].plain_name}_vector", dtype=self.dtype_policy
            )
        return found

    def _build_encoder(self, name):
        """Builds the encoder of a column; returns the width of what it gives."""
        column, encoder = self.schema[name], self._encoders[name]
        given = self._whole_schema.select([name]).inputs()[name]
        if not encoder.built:
            encoder.build(given.shape)
        shape = tuple(encoder.compute_output_spec(given).shape)
        if column.is_bag and isinstance(encoder, ColumnTable):
            shape = (*shape[:-2], shape[-1])
        each = "an event" if column.is_list else "a session"
        if len(shape) != 2 + column.is_list or shape[-1] is None:
            raise ValueError(
                f"The encoder of column {name!r} gives {shape} for "
                f"{tuple(given.shape)}; it should give one vector {each}."
            )
        if isinstance(encoder, ColumnTable) and encoder.rows < column.cardinality:
            raise ValueError(
                f"The encoder of column {name!r} has {encoder.rows} rows, but the "
                f"column has {column.cardinality} ids, padding included: give a row "
                "for each."
            )
        if name == self._item.name and encoder.rows > column.cardinality:
            raise ValueError(
                f"The encoder of the item column {name!r} has {encoder.rows} rows, but "
                f"there are {column.cardinality} ids, padding included: no more could "
                "be answered."
            )
        return shape[-1]

    @property
    def tables(self):
        """Dict of table name to its weight, of the tables that were made for ids."""
        return {
            name: self._encoders[table.columns[0]].embeddings
            for name, table in self._tables.items()
        }

    def call(self, inputs, training=None):
        self._check(inputs)
        mask = ops.not_equal(inputs[self._item.name], 0)
        features, table = self._encode(inputs, training)
        x = self._fusion(features)
        axes = tuple(range(2, 2 + len(self._fusion.event_shape)))
        x = x * ops.cast(ops.expand_dims(mask, axes), x.dtype)
        return self._attach_mask((x, mask)), table

    def _check(self, inputs):
        missing = sorted(set(self.schema.names) - set(inputs))
        if missing:
            raise ValueError(
                f"Columns {missing} of the schema are missing in the input of "
                f"{self.name!r}, which has {sorted(inputs)}."
            )
        for column in self.schema:
            wanted, shape = column.shape, tuple(inputs[column.name].shape[1:])
            if len(shape) != len(wanted) or shape[1:] != wanted[1:]:
                raise ValueError(_other_axes(column, inputs[column.name].shape))

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
        self._check(inputs)
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


def _other_axes(column, shape):
    each = ("a session", "an event")[column.is_list]
    if column.event_count is not None:
        most = column.event_count[1]
        return (
            f"Column {column.name!r} has {most} values an event by the schema, so its "
            f"input is (batch, time, {most}), but it comes as {tuple(shape)}: give the "
            "schema another event_count."
        )
    wanted = ("(batch,)", "(batch, time)")[column.is_list]
    return (
        f"Column {column.name!r} has one number {each} by the schema, so its input is "
        f"{wanted}, but it comes as {tuple(shape)}: give the schema as many columns as "
        "there are numbers, or, for a vector, an event_count."
    )


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
