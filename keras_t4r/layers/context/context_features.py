"""What is known of a whole session, as one vector."""

import keras
from keras import ops

from keras_t4r.arguments import names, one_of, whole_number
from keras_t4r.backend import as_table, take_rows
from keras_t4r.layers.features.columns.id_embedding import zero_padding_row
from keras_t4r.layers.features.columns.numbers import finite
from keras_t4r.layers.features.kept_vocabularies import (
    KeepsVocabularies,
    KeptVocabularies,
)
from keras_t4r.layers.features.table_plan import plan_tables
from keras_t4r.layers.fresh_initializer import fresh
from keras_t4r.layers.sharded_rows import ShardedRows
from keras_t4r.quantization import KeepsQuantization
from keras_t4r.schema import Schema, check_schema

AGGREGATIONS = ("concat", "stack")


@keras.saving.register_keras_serializable(package="keras_t4r")
class ContextFeatures(
    KeepsQuantization, KeepsVocabularies, ShardedRows, keras.layers.Layer
):
    """Turns columns of one value a session into one vector: user, device, country.

    Ids are looked up in embedding tables (columns of the same domain share one), and
    numbers are taken as they are. The columns, in the order of their names, are

    - `"concat"`: joined, `[e_1; …; e_n]`;
    - `"stack"`: laid side by side as rows of one width, for `DotInteraction` and its
      like: a number `v` becomes `v w + b`, with `w` and `b` learned.

    Row 0 of every table is zero and never trained: an id of 0 says nothing.

    The vector is for `ContextFusion` and `ContextToken`. The columns that this layer
    reads need not be repeated over the events: give `SequenceEmbeddingFeatures`, whose
    tables are its own, a schema without them. In Transformers4Rec it is
    `EmbeddingFeatures`, and `ContinuousFeatures`, of inputs without a time axis.

    Args:
        schema: `Schema`.
        columns: list of names. `None` takes all ids and numbers of the schema that
            have one value a session.
        embedding_dim: int, `"infer"` (see `inferred_dims`), or dict of column name to
            either. Width of the tables; one int for `"stack"`.
        aggregation: string. One of the above.
        embeddings_initializer: initializer of the tables.
        vocabularies: dict of column name to `Vocabulary`, kept for whoever asks the
            model in raw ids. Defaults to the schema's.

    Call arguments:
        inputs: dict of column name to tensor `(batch,)`. It may hold other columns.

    Returns:
        A tensor `(batch, width)`, or `(batch, n, embedding_dim)` for `"stack"`. It
        carries no mask.

    Raises:
        ValueError: there is no such column, or it has a value an event or is no
            feature; or the widths do not go together.

    Example:

    ```python
    columns = ["country", "device"]
    features = SequenceEmbeddingFeatures(schema.without(columns), d_output=64)
    x, table = features(inputs)
    context = ContextFeatures(schema, columns, embedding_dim=8)(inputs)
    ```

    References:
    - de Souza Pereira Moreira et al., Transformers4Rec, RecSys 2021.
    """

    def __init__(
        self,
        schema,
        columns=None,
        embedding_dim=64,
        aggregation="concat",
        embeddings_initializer="embedding_normal",
        vocabularies=None,
        **kwargs,
    ):
        # Large numbers are none in float16.
        super().__init__(**{"autocast": False, **kwargs})
        one_of("aggregation", aggregation, AGGREGATIONS)
        # Passed arguments.
        check_schema(schema, needed=True)
        self.schema = _chosen(schema, columns)
        self.embedding_dim = embedding_dim
        self.aggregation = aggregation
        if embeddings_initializer == "embedding_normal":
            embeddings_initializer = keras.initializers.RandomNormal(stddev=0.05)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

        # Other arguments.
        self._plan = self._planned()
        if vocabularies is None:
            self._vocabularies = KeptVocabularies.of_schema(schema, self.schema)
        else:
            self._vocabularies = KeptVocabularies(vocabularies, self.schema)

    def _planned(self):
        """The tables of ids, by name."""
        if self.aggregation == "stack" and isinstance(self.embedding_dim, (dict, str)):
            raise ValueError(
                'aggregation="stack" needs one width: give embedding_dim as a number.'
            )
        ids = [column.name for column in self.schema if column.is_categorical]
        return plan_tables(self.schema, ids, self.embedding_dim)

    def build(self, input_shape):
        self.tables, self._projections = {}, {}
        for name, table in self._plan.items():
            self.tables[name] = self.add_table(
                f"{self.schema[table.columns[0]].plain_name}_embedding",
                table.rows,
                table.dim,
                zero_padding_row(fresh(self.embeddings_initializer)),
            )
        for column in self.schema:
            if not column.is_categorical and self.aggregation == "stack":
                dense = keras.layers.Dense(
                    whole_number("embedding_dim", self.embedding_dim),
                    name=f"{column.plain_name}_projection",
                    dtype=self.dtype_policy,
                )
                dense.build((None, 1))
                self._projections[column.name] = dense

    def call(self, inputs):
        self._check(inputs)
        values = [self._embed(column, inputs[column.name]) for column in self.schema]
        if self.aggregation == "stack":
            return ops.stack(values, axis=1)
        return values[0] if len(values) == 1 else ops.concatenate(values, axis=-1)

    def _embed(self, column, values):
        if not column.is_categorical:
            x = ops.expand_dims(finite(values, self.compute_dtype), -1)
            project = self._projections.get(column.name)
            return x if project is None else project(x)
        rows = take_rows(as_table(self.tables[column.table_name]), values)
        real = ops.expand_dims(ops.not_equal(values, 0), -1)
        # Keeps row 0 at zero: it gets no gradient.
        return ops.cast(rows, self.compute_dtype) * ops.cast(real, self.compute_dtype)

    def _check(self, inputs):
        for name in self.schema.names:
            if name not in inputs:
                raise ValueError(
                    f"Column {name!r} is missing in the input of {self.name!r}, which "
                    f"has {sorted(inputs)}."
                )
            shape = tuple(inputs[name].shape)
            if len(shape) != 1:
                raise ValueError(
                    f"Column {name!r} has one value a session by the schema, so its "
                    f"input is (batch,), but it comes as {shape}."
                )

    def compute_output_spec(self, inputs):
        self._check(inputs)
        batch = inputs[self.schema.names[0]].shape[0]
        if self.aggregation == "stack":
            shape = (batch, len(self.schema), self.embedding_dim)
        else:
            widths = [
                self._plan[c.table_name].dim if c.is_categorical else 1
                for c in self.schema
            ]
            shape = (batch, sum(widths))
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "schema": self.schema.to_text(),
            "columns": self.schema.names,
            "embedding_dim": self.embedding_dim,
            "aggregation": self.aggregation,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "vocabularies": self._vocabularies.fingerprints,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "schema": Schema.from_text(config["schema"])})


def _chosen(schema, columns):
    """The schema of the columns to read, in the order of their names."""
    features = schema.features
    if columns is None:
        columns = [c.name for c in features if not (c.is_list or c.is_timestamp)]
        if not columns:
            raise ValueError(
                "The schema has no feature of one value a session for ContextFeatures: "
                f"its columns are {schema.names}."
            )
    columns = names("columns", columns)
    if not columns:
        raise ValueError("columns of ContextFeatures is empty: name one.")
    for name in columns:
        if schema[name].is_list:
            raise ValueError(
                f"Column {name!r} has a value an event by the schema: "
                "SequenceEmbeddingFeatures reads it; ContextFeatures reads those of "
                "one value a session."
            )
        if name not in features or schema[name].is_timestamp:
            raise ValueError(
                f"Column {name!r} is no feature: the schema has it neither as ids with "
                "a domain nor as numbers tagged continuous, or it is a target, a time "
                "or the session's key."
            )
    return features.select(sorted(set(columns)))
