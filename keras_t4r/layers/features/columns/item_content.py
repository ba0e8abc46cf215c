import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, rate, whole_number
from keras_t4r.layers.features.columns.column_table import ColumnTable
from keras_t4r.layers.features.columns.id_embedding import zero_padding_row
from keras_t4r.layers.fresh_initializer import fresh


@keras.saving.register_keras_serializable(package="keras_t4r")
class ItemContent(ColumnTable):
    """An item by its id and its content, so that items nobody clicked can be answered.

    `e(i) = m(i) d(i) R[i] + adaptor([c_1(i); …; c_n(i)])`

    `R` is a learnt row an id, `c` the item's content: pretrained vectors, attributes.
    `d(i)`, drawn anew in each step of training, is 0 for a share `id_dropout` of the
    items and 1 for the others: where the id says nothing the content learns to stand
    alone. `m(i)` is 1 for items that were in a session of the training, and 0 for all
    others, which losses have only ever pushed away: an item's row is its content alone
    until it is seen. The same rows are read by the body and scored with by the head.

    A head's bias is learnt an id, so that of a new item says only that it never was a
    target: `NextItemHead(bias=False)` goes with this layer. And items must be in the
    schema's domain, and have content, when the model is made.

    All rows are computed in each step and for each request, whatever the loss: it is
    for catalogues of up to some hundred thousand items.

    Args:
        content: a `ColumnTable`, as `PretrainedEmbedding` or `ItemAttribute`, or list
            of them, of as many rows as there are item ids, padding included.
        dim: int. Width of a row.
        id_dropout: float in [0, 1). Share of the items whose id is dropped in training.
        adaptor: layer that makes content `(rows, width)` to `(rows, dim)`. `None` for a
            `Dense`.
        embeddings_initializer: initializer of `R`. By default a new item begins as its
            content.
        seed: int. Seed of what is dropped.

    Call arguments:
        ids: int tensor, of any shape. Encoded item ids.
        training: bool. Whether ids are dropped, and noted as seen.

    Returns:
        A tensor of that shape and one axis more, `dim` wide.

    Raises:
        TypeError: the content is no `ColumnTable`, or the adaptor no layer.
        ValueError: contents have several numbers of rows.

    Example:

    ```python
    content = [PretrainedEmbedding(images), ItemAttribute(brands)]
    features = SequenceEmbeddingFeatures(
        schema, columns={"item_id": ItemContent(content, dim=64, id_dropout=0.2)}
    )
    x, table = features(inputs)
    scores = NextItemHead(bias=False)(block(x), targets, table)
    ```

    References:
    - Volkovs, Yu and Poutanen, DropoutNet: Addressing Cold Start in Recommender
      Systems, NeurIPS 2017.
    """

    def __init__(
        self,
        content,
        dim=64,
        id_dropout=0.1,
        adaptor=None,
        embeddings_initializer="zeros",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # Passed arguments.
        self.content = (
            list(content) if isinstance(content, (list, tuple)) else [content]
        )
        _check_content(self.content)
        self._dim = whole_number("dim", dim)
        self.id_dropout = rate("id_dropout", id_dropout)
        if adaptor is not None and not isinstance(adaptor, keras.layers.Layer):
            raise TypeError(f"adaptor is {adaptor!r}; it should be a layer, or None.")
        self.adaptor = adaptor
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.seed = drawing_seed(seed)

        # Other arguments.
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    @property
    def rows(self):
        return self.content[0].rows

    @property
    def dim(self):
        return self._dim

    def build(self, ids_shape=None):
        for content in self.content:
            if not content.built:
                content.build(ids_shape)
        self.embeddings = self.add_table(
            "embeddings",
            self.rows,
            self.dim,
            zero_padding_row(fresh(self.embeddings_initializer)),
        )
        # More than 0 for ids that were seen; of replicas any may have seen one.
        self.seen = self.add_weight(
            name="seen",
            shape=(self.rows,),
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="mean",
        )
        # In float32, as a table is: it is what heads score with.
        self._adapt = self.adaptor or keras.layers.Dense(
            self.dim, name="adaptor", dtype=self.variable_dtype
        )
        width = sum(content.dim for content in self.content)
        if not self._adapt.built:
            self._adapt.build((self.rows, width))
        made = tuple(self._adapt.compute_output_shape((self.rows, width)))
        if made != (self.rows, self.dim):
            raise ValueError(
                f"The adaptor of {self.name!r} makes {made} of the content; it should "
                f"make {(self.rows, self.dim)}."
            )

    def with_table(self, ids, training=None):
        if training:
            self._note(ids)
        return super().with_table(ids, training=training)

    def _note(self, ids):
        ids = ops.reshape(ops.cast(ids, "int32"), (-1, 1))
        ones = ops.ones_like(ids[:, 0], dtype=self.seen.dtype)
        seen = ops.convert_to_tensor(self.seen)
        self.seen.assign(ops.scatter_update(seen, ids, ones))

    def table(self, training=None):
        content = [content.table(training=training) for content in self.content]
        content = content[0] if len(content) == 1 else ops.concatenate(content, -1)
        table = ops.cast(self._adapt(content), self.variable_dtype)
        counts = ops.convert_to_tensor(self.seen) > 0
        if training and self.id_dropout:
            draw = keras.random.uniform((self.rows,), seed=self.seed_generator)
            counts = ops.logical_and(counts, draw >= self.id_dropout)
        rows = self.rows_of(self.embeddings)
        return table + rows * ops.cast(ops.expand_dims(counts, -1), rows.dtype)

    def get_config(self):
        adaptor = self.adaptor
        if adaptor is not None:
            adaptor = keras.saving.serialize_keras_object(adaptor)
        return {
            **super().get_config(),
            "content": [keras.saving.serialize_keras_object(c) for c in self.content],
            "dim": self.dim,
            "id_dropout": self.id_dropout,
            "adaptor": adaptor,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        load = keras.saving.deserialize_keras_object
        config["content"] = [load(content) for content in config["content"]]
        if config["adaptor"] is not None:
            config["adaptor"] = load(config["adaptor"])
        return cls(**config)


def _check_content(content):
    for one in content:
        if not isinstance(one, ColumnTable):
            raise TypeError(
                f"The content of items is {one!r}; it should be a ColumnTable, as "
                "PretrainedEmbedding or ItemAttribute."
            )
    rows = sorted({one.rows for one in content})
    if len(rows) != 1:
        raise ValueError(
            f"The contents of items have {rows} rows; each should have one for every "
            "item id, padding included."
        )
