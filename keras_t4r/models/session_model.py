import functools

import keras
from keras import ops

from keras_t4r.layers.features.sequence_embedding_features import (
    SequenceEmbeddingFeatures,
)
from keras_t4r.layers.heads.next_item_head import NextItemHead
from keras_t4r.metrics.ranks import target_ranks
from keras_t4r.models.check_scheme import check_scheme
from keras_t4r.models.recommender import Recommender
from keras_t4r.models.top_k import top_k


@keras.saving.register_keras_serializable(package="keras_t4r")
class SessionModel(keras.Model):
    """A functional Keras model that recommends the next item of a session.

    It trains on the loss of its `NextItemHead`, so `compile` takes none; it
    evaluates by ranking the item that came next among all items, through the
    very path that serves; and it answers in raw item ids.

    Args:
        inputs: dict of `keras.Input`, as of `Schema.inputs`.
        outputs: scores of the next item, as of `NextItemHead`.

    Raises:
        ValueError: scheme and body do not go together.

    Example:

    ```python
    model = SessionModel(inputs, outputs)
    model.compile(keras.optimizers.Adam(1e-3), metrics=[NDCG(20), Recall(20)])
    model.fit(KerasSequenceLoader("sessions/1", schema, 384), epochs=5)
    model.evaluate(KerasSequenceLoader("sessions/2", schema, 512, target="last"))
    model.recommend({"item_id": [["214717005", "214716986"]]}, k=10)
    ```
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        check_scheme(self.layers)

    # Training and evaluation

    def compile(self, optimizer="adam", metrics=None, **kwargs):
        """Configures training.

        Args:
            optimizer: as in `keras.Model.compile`.
            metrics: list of ranking metrics, of `keras_t4r.metrics`. They are
                computed where there is a target to rank: in `evaluate` and on
                validation data, not in training.
            **kwargs: as in `keras.Model.compile`, without `loss`.
        """
        if kwargs.pop("loss", None) is not None:
            raise ValueError(
                "SessionModel trains on the loss of its NextItemHead: "
                "compile it without a loss."
            )
        if keras.backend.backend() == "tensorflow":
            # The head gathers the positions that have a target; how many they
            # are is not known beforehand, which XLA cannot compile.
            kwargs["jit_compile"] = False
        super().compile(optimizer=optimizer, loss=None, metrics=None, **kwargs)
        # So that a model that is saved before it was fit comes back whole.
        self.optimizer.build(self.trainable_variables)
        # Kept apart from Keras's own: those would be updated in `fit` too,
        # where there is nothing to rank.
        self.__dict__["_ranking_metrics"] = list(metrics or [])

    def fit(self, x=None, y=None, **kwargs):
        """Trains as `keras.Model.fit` does.

        A `KerasSequenceLoader` draws its own order, out of its seed and the epoch;
        Keras's shuffle on top of it, out of a global state, is off by default.
        """
        if isinstance(x, keras.utils.PyDataset):
            kwargs.setdefault("shuffle", False)
        return super().fit(x, y, **kwargs)

    @property
    def metrics(self):
        return super().metrics + self.__dict__.get("_ranking_metrics", [])

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        if training:
            if not self.losses:
                raise ValueError(
                    "The model has no loss to train on: its output must come from a "
                    "NextItemHead."
                )
            return sum(ops.cast(loss, "float32") for loss in self.losses)
        _need_targets(y)
        # Targets that are no items (unknown, or padding) have no likelihood.
        y = ops.cast(y, "int32")
        of_target = ops.take_along_axis(y_pred, y[:, None], axis=1)[:, 0]
        weight = ops.cast(of_target > -float("inf"), "float32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")
        loss = ops.logsumexp(y_pred, axis=1) - ops.where(weight > 0, of_target, 0.0)
        return ops.sum(weight * loss) / ops.maximum(ops.sum(weight), 1e-9)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        ranking = self.__dict__.get("_ranking_metrics", [])
        if y is None:
            logs = self.get_metrics_result()
            return {k: v for k, v in logs.items() if k not in {m.name for m in ranking}}
        if ranking:
            ranks = target_ranks(y, y_pred)
            for metric in ranking:
                metric.update_ranks(ranks, y, sample_weight)
        return self.get_metrics_result()

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config.pop("loss", None)
            config["metrics"] = [
                keras.saving.serialize_keras_object(m)
                for m in self.__dict__.get("_ranking_metrics", [])
            ]
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    # Recommending

    @property
    def features(self):
        """The layer that embeds the inputs."""
        for layer in self.layers:
            if isinstance(layer, SequenceEmbeddingFeatures):
                return layer
        raise ValueError(
            "The model has no SequenceEmbeddingFeatures, so the columns of its "
            "inputs are not known."
        )

    @property
    def memory(self):
        """The `TransitionMemory` of the head, or `None`."""
        heads = [layer for layer in self.layers if isinstance(layer, NextItemHead)]
        return next((head.memory for head in heads if head.memory is not None), None)

    @property
    def schema(self):
        """The schema of the model's inputs."""
        return self.features.schema

    @property
    def max_history(self):
        """The most events that an answer is computed from.

        One less than the longest session of the training data: the event that
        comes next takes the last place.
        """
        return max(1, self.schema.max_length - 1)

    def top_k(self, inputs, k=10, exclude_seen=False):
        """Scores and ids of the best items; traceable, for export.

        Args:
            inputs: dict of column to tensor, encoded and right-padded.
            k: int.
            exclude_seen: bool. Leave out the items of the session itself.

        Returns:
            The pair of scores `(batch, k)` and encoded ids `(batch, k)`.
        """
        self._check_k(k)
        seen = inputs[self.schema.item_id] if exclude_seen else None
        scores = self(self.newest(inputs), training=False)
        return top_k(scores, k, self._first_id, seen)

    @property
    def _first_id(self):
        return self.schema[self.schema.item_id].first_id

    def _check_k(self, k):
        column = self.schema[self.schema.item_id]
        items = column.cardinality - column.first_id
        if not 1 <= k <= items:
            raise ValueError(
                f"k must lie between 1 and the number of items, {items}, not at {k}."
            )

    def newest(self, inputs):
        """Cuts right-padded sessions to their newest `max_history` events."""
        time = self.max_history
        lists = [c.name for c in self.schema if c.is_list]
        width = ops.shape(inputs[self.schema.item_id])[1]
        real = ops.not_equal(inputs[self.schema.item_id], 0)
        length = ops.sum(ops.cast(real, "int32"), axis=1, keepdims=True)
        shift = ops.maximum(length - time, 0)
        # Cut, not counted to the smaller: JAX, tracing, wants a number there.
        index = ops.arange(width, dtype="int32")[None, :time] + shift
        cut = {name: ops.take_along_axis(inputs[name], index, axis=1) for name in lists}
        # PyTorch's Keras takes no dict of tensors and arrays.
        whole = {c.name: ops.convert_to_tensor(inputs[c.name]) for c in self.schema}
        return {**whole, **cut}

    @functools.cached_property
    def _recommender(self):
        return Recommender(self)

    def recommend(
        self, sessions, k=10, exclude_seen=False, batch_size=256, encoded=None
    ):
        """The `k` items most likely to come next, in raw ids.

        Args:
            sessions: dict of column to list of lists, `pyarrow.Table`, polars or
                pandas frame, with raw ids, as `{"item_id": [["a", "b"], ["c"]]}`; ids
                that the vocabulary does not hold count as unknown, and without a
                vocabulary raw ids are the encoded ones. Or a table of an ETL's
                `transform`, or read from what it wrote: that carries a mark, which
                says that its ids are encoded, and by which vocabulary.
            k: int. How many items.
            exclude_seen: bool. Leave out the items of the session itself.
            batch_size: int. Sessions scored at a time.
            encoded: bool. Whether ids are encoded and numbers standardised, whatever
                the mark says. `None` asks the mark.

        Returns:
            A dict of NumPy arrays, in the order of the sessions: the item column
            `(sessions, k)` with raw ids, `"scores"` `(sessions, k)`, and the session
            column where the sessions have one. Where fewer than `k` items are left,
            the last places hold none: their score is minus infinity, so that
            `np.isfinite(scores).sum(1)` items are real, and their id is `None` for
            text, -1 for integers, 0 where there is no vocabulary.

        Raises:
            ValueError: a column is missing, lists differ in length, `k` is out of
                range; a table was encoded by another vocabulary than the model's; raw
                sessions hold a number that the ETL standardised; the model was made
                from a config, and its vocabularies are not in this process.
        """
        self._check_k(k)
        return self._recommender.recommend(
            sessions, batch_size, encoded, k=k, exclude_seen=exclude_seen
        )

    def decode(self, ids):
        """Raw values of encoded item ids; the ids themselves without a vocabulary.

        Ids that are no items come out as `None` for text, as -1 for integers.
        """
        return self._recommender.decode(ids)


def _need_targets(y):
    if y is None:
        raise ValueError(
            "There is no target to evaluate on: make the loader with target='last'."
        )
