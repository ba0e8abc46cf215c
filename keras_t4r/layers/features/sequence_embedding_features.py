import keras
from keras import ops

from keras_t4r.arguments import optional, rate, truth, whole_number
from keras_t4r.backend import as_table, take_rows
from keras_t4r.layers.attach_mask import AttachMask
from keras_t4r.layers.features.kept_vocabularies import KeptVocabularies
from keras_t4r.layers.fresh_initializer import fresh
from keras_t4r.layers.sharded_rows import ShardedRows
from keras_t4r.quantization import KeepsQuantization
from keras_t4r.schema import Schema, check_schema

AGGREGATIONS = ("concat", "element-wise-sum", "element-wise-sum-item-multi")


@keras.saving.register_keras_serializable(package="keras_t4r")
class SequenceEmbeddingFeatures(KeepsQuantization, ShardedRows, keras.layers.Layer):
    """Turns the columns of a session into one vector an event.

    Ids are looked up in embedding tables (columns of the same domain share
    one), numbers are taken as they are or projected together, values that
    hold for the whole session are repeated over its events. The columns, in
    order of their names, are then aggregated, and projected to `d_output`:

    - `"concat"`: `[e_1; …; e_n]`
    - `"element-wise-sum"`: `e_1 + … + e_n`
    - `"element-wise-sum-item-multi"`: `e_item * (sum of the others)`

    Row 0 of every table, the padding, is zero and is never trained. The
    output is zero, and masked, where there is no item.

    Args:
        schema: `Schema`. Its ids and numbers become features, but for columns tagged
            `timestamp`, which are for bodies that read times; one column must be
            tagged `item_id`.
        d_output: int. Width of the output. `None` leaves the aggregate as it is.
        embedding_dim: int, or dict of column name to int. Width of the tables.
        aggregation: string. One of the above. The element-wise ones need
            tables of one width; numbers are projected to it.
        continuous_projection: int. Width of a ReLU layer over all numbers
            together. `None` leaves them as they are.
        layer_norm: bool. Normalise each feature before the aggregation, so
            that none drowns the others: tables start near zero, numbers do
            not. A single number, which its norm would make constant, is left
            as it is: give a `continuous_projection` as well.
        dropout: float in [0, 1). Rate of dropout on the output.
        embeddings_initializer: initializer of the tables.
        max_length: int. The most events of a session, with the one that comes next:
            what a `SessionModel` reads before it answers is one less. `None` takes
            the schema's.
        vocabularies: dict of column name to `Vocabulary`, kept for whoever asks the
            model in raw ids. Defaults to the schema's. A file of weights says which
            they were: another model's are refused.

    Call arguments:
        inputs: dict of column name to tensor: `(batch, time)` for lists,
            `(batch,)` for the others.

    Returns:
        The pair of the events, `(batch, time, d_output)`, with a mask; and the table
        of items, `(cardinality, dim)`, which heads score with. The table is the
        variable itself, in its own dtype: whoever gathers rows of it gets a gradient
        of these rows only, on TensorFlow.

    Example:

    ```python
    features = SequenceEmbeddingFeatures(schema, d_output=128)
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
        continuous_projection=None,
        layer_norm=False,
        dropout=0.0,
        embeddings_initializer="embedding_normal",
        max_length=None,
        vocabularies=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_schema(schema, needed=True)
        if aggregation not in AGGREGATIONS:
            raise ValueError(
                f"aggregation must be one of {AGGREGATIONS}, not {aggregation!r}."
            )
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
        self.continuous_projection = optional(
            whole_number, "continuous_projection", continuous_projection
        )
        self.layer_norm = truth("layer_norm", layer_norm)
        self.dropout = rate("dropout", dropout)
        if embeddings_initializer == "embedding_normal":
            # Small enough that tied logits start near zero.
            embeddings_initializer = keras.initializers.RandomNormal(stddev=0.05)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

        # Other arguments.
        self.session_column = schema.session_id
        self._whole_schema = schema
        self.supports_masking = True
        self._item = self.schema[self.schema.item_id]
        self._categorical = sorted(c.name for c in self.schema if c.is_categorical)
        self._continuous = sorted(
            c.name for c in self.schema if not (c.is_categorical or c.is_timestamp)
        )
        self._dims = self._table_dims()
        if vocabularies is None:
            self._vocabularies = KeptVocabularies.of_schema(schema, self.schema)
        else:
            self._vocabularies = KeptVocabularies(vocabularies, self.schema)

    def _table_dims(self):
        dims = {}
        for name in self._categorical:
            table, dim = self.schema[name].table_name, self.embedding_dim
            if isinstance(dim, dict):
                if name not in dim:
                    raise ValueError(
                        f"embedding_dim has no entry for column {name!r}; "
                        f"it has {sorted(dim)}."
                    )
                dim = dim[name]
            dim = whole_number(f"embedding_dim of column {name!r}", dim)
            if dims.setdefault(table, dim) != dim:
                raise ValueError(
                    f"Column {name!r} shares the table {table!r} with a column of "
                    f"another width ({dims[table]} and {dim}); give both the same."
                )
        if self.aggregation != "concat" and len(set(dims.values())) > 1:
            raise ValueError(
                f"aggregation={self.aggregation!r} needs tables of one width, "
                f"not {dims}."
            )
        return dims

    def build(self, input_shape):
        self.tables = {}
        rows, owner = {}, {}
        for name in self._categorical:
            column = self.schema[name]
            owner.setdefault(column.table_name, name)
            rows[column.table_name] = max(
                rows.get(column.table_name, 0), column.cardinality
            )
        if rows[self._item.table_name] > self._item.cardinality:
            raise ValueError(
                f"The item column {self._item.name!r} has {self._item.cardinality} "
                f"ids, but another column of its domain {self._item.table_name!r} has "
                f"{rows[self._item.table_name]}: give both the same domain."
            )
        for table, dim in self._dims.items():
            # The few rows that a batch needs are cast, not the whole table.
            self.tables[table] = self.add_table(
                f"{self.schema[owner[table]].plain_name}_embedding",
                rows[table],
                dim,
                _zero_padding_row(fresh(self.embeddings_initializer)),
            )
        item_dim = self._dims[self._item.table_name]
        widths = {
            name: self._dims[self.schema[name].table_name] for name in self._categorical
        }
        self._projections = {}
        if self.continuous_projection and self._continuous:
            groups = {"continuous": len(self._continuous)}
            units, activation = self.continuous_projection, "relu"
            widths["continuous"] = units
        else:
            groups = dict.fromkeys(self._continuous, 1)
            units, activation = item_dim, None
            widths.update(groups)
        if self.aggregation != "concat":
            units, activation = item_dim, activation
            widths.update(dict.fromkeys(groups, item_dim))
        if self.continuous_projection or self.aggregation != "concat":
            for group, n in groups.items():
                layer = self._sublayer(
                    keras.layers.Dense,
                    units,
                    activation,
                    f"{self._plain(group)}_projection",
                )
                layer.build((None, None, n))
                self._projections[group] = layer
        self._norms = {}
        if self.layer_norm:
            for name, width in widths.items():
                if width == 1:
                    continue
                norm = keras.layers.LayerNormalization(
                    name=f"{self._plain(name)}_norm", dtype=self.dtype_policy
                )
                norm.build((None, None, width))
                self._norms[name] = norm
        self._output_projection = None
        width = sum(widths.values()) if self.aggregation == "concat" else item_dim
        if self.d_output is not None:
            self._output_projection = self._sublayer(
                keras.layers.Dense, self.d_output, None, "output_projection"
            )
            self._output_projection.build((None, None, width))
        self._width = self.d_output or width
        self._dropout = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self._attach_mask = AttachMask(dtype=self.dtype_policy)

    def _plain(self, name):
        return self.schema[name].plain_name if name in self.schema else name

    def _sublayer(self, cls, units, activation, name):
        return cls(units, activation=activation, name=name, dtype=self.dtype_policy)

    def call(self, inputs, training=None):
        self._check(inputs)
        mask = ops.not_equal(inputs[self._item.name], 0)
        x = self._aggregate(self._embed(inputs, ops.shape(mask)[1]))
        if self._output_projection is not None:
            x = self._output_projection(x)
        x = self._dropout(x, training=training)
        x = x * ops.cast(ops.expand_dims(mask, -1), x.dtype)
        table = self.rows_of(self.tables[self._item.table_name])
        return self._attach_mask((x, mask)), table

    def _check(self, inputs):
        missing = sorted(set(self.schema.names) - set(inputs))
        if missing:
            raise ValueError(
                f"Columns {missing} of the schema are missing in the input of "
                f"{self.name!r}, which has {sorted(inputs)}."
            )
        for column in self.schema:
            axes, shape = 1 + column.is_list, tuple(inputs[column.name].shape)
            if len(shape) != axes:
                wanted = ("(batch,)", "(batch, time)")[column.is_list]
                each = ("a session", "an event")[column.is_list]
                raise ValueError(
                    f"Column {column.name!r} has one number {each} by the schema, so "
                    f"its input is {wanted}, but it comes as {shape}: give the schema "
                    "as many columns as there are numbers."
                )

    def _embed(self, inputs, time):
        """One tensor (batch, time, width) a feature, by name."""
        features = {}
        for name in self._categorical:
            table = as_table(self.tables[self.schema[name].table_name])
            ids = inputs[name]
            e = ops.cast(take_rows(table, ids), self.compute_dtype)
            # Keeps the padding row at zero: it gets no gradient.
            e = e * ops.cast(ops.expand_dims(ops.not_equal(ids, 0), -1), e.dtype)
            features[name] = self._over_time(e, name, time)
        numbers = {
            name: self._over_time(
                ops.expand_dims(ops.cast(inputs[name], self.compute_dtype), -1),
                name,
                time,
            )
            for name in self._continuous
        }
        if self.continuous_projection and numbers:
            stacked = ops.concatenate([numbers[n] for n in self._continuous], -1)
            numbers = {"continuous": stacked}
        for name, x in numbers.items():
            project = self._projections.get(name)
            features[name] = x if project is None else project(x)
        return {
            name: self._norms[name](x) if name in self._norms else x
            for name, x in features.items()
        }

    def _over_time(self, x, name, time):
        if self.schema[name].is_list:
            return x
        return ops.repeat(ops.expand_dims(x, 1), time, axis=1)

    def _aggregate(self, features):
        values = [features[name] for name in sorted(features)]
        if self.aggregation == "concat":
            return values[0] if len(values) == 1 else ops.concatenate(values, axis=-1)
        if self.aggregation == "element-wise-sum":
            return sum(values[1:], values[0])
        item = features.pop(self._item.name)
        others = [features[name] for name in sorted(features)]
        return item * sum(others[1:], others[0]) if others else item

    def compute_mask(self, inputs, previous_mask=None):
        # Of the events only. Beside values it was attached in `call`; while a graph is
        # made it has to be a tensor of that graph.
        ids = inputs[self._item.name]
        return [ops.not_equal(ids, 0)] if keras.utils.is_keras_tensor(ids) else None

    def compute_output_spec(self, inputs, training=None):
        self._check(inputs)
        batch, time = inputs[self._item.name].shape
        table = self.tables[self._item.table_name]
        shape = (self._item.cardinality, table.shape[1])
        return (
            keras.KerasTensor((batch, time, self._width), dtype=self.compute_dtype),
            keras.KerasTensor(shape, dtype=table.dtype),
        )

    # Raw values

    def vocabulary(self, name):
        """The `Vocabulary` of a column, or `None` where it has none.

        Raises:
            ValueError: it has one, but the layer was made from a config in a process
                that does not hold it.
        """
        return self._vocabularies.get(name)

    @property
    def told_vocabularies(self):
        """Dict of column to `Vocabulary`, or to its fingerprint where this process does
        not hold it."""
        return self._vocabularies.told()

    def save_own_variables(self, store):
        super().save_own_variables(store)
        self._vocabularies.sign(store)

    def load_own_variables(self, store):
        held = {key: store[key] for key in store.keys()}
        self._vocabularies.check_signed(held)
        super().load_own_variables(held)

    def save_assets(self, dir_path):
        self._vocabularies.save(dir_path)

    def load_assets(self, dir_path):
        self._vocabularies.load(dir_path)

    def get_config(self):
        config = super().get_config()
        config.update(
            schema=self._whole_schema.to_text(),
            d_output=self.d_output,
            embedding_dim=self.embedding_dim,
            aggregation=self.aggregation,
            continuous_projection=self.continuous_projection,
            layer_norm=self.layer_norm,
            dropout=self.dropout,
            embeddings_initializer=keras.initializers.serialize(
                self.embeddings_initializer
            ),
            max_length=self.max_length,
            vocabularies=self._vocabularies.fingerprints,
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["schema"] = Schema.from_text(config["schema"])
        return cls(**config)


def _zero_padding_row(initializer):
    def initialize(shape, dtype=None):
        table = initializer(shape, dtype=dtype)
        return ops.concatenate([ops.zeros_like(table[:1]), table[1:]], axis=0)

    return initialize
