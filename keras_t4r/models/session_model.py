import functools

import keras
from keras import ops

from keras_t4r.backend import has_global_random_state, scale_for_replicas
from keras_t4r.backend import name as backend_name
from keras_t4r.data.loader.loader_epoch import follow_epochs, with_callback
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.layers.features.sequence_embedding_features import (
    SequenceEmbeddingFeatures,
)
from keras_t4r.layers.heads.weighing import Weight, weighing
from keras_t4r.layers.memory.in_model import find_memories
from keras_t4r.metrics.ranking_metric import RankingMetric
from keras_t4r.models.compile_arguments import CompileArguments
from keras_t4r.models.epoch_seed import EpochSeed
from keras_t4r.models.graph import by_output, head_of, layers_of, output_names
from keras_t4r.models.head_checks import check_heads
from keras_t4r.models.likelihood import next_item_loss
from keras_t4r.models.mask_repair import keep_masks
from keras_t4r.models.probe import probe as try_out
from keras_t4r.models.recommender import Recommender
from keras_t4r.models.scheme_checks import check_schemes
from keras_t4r.models.step_data import (
    as_keras_takes,
    pack_weights,
    targets_by_output,
    unpack,
    weights_by_output,
)
from keras_t4r.models.top_k import hide_seen, top_k


@keras.saving.register_keras_serializable(package="keras_t4r")
class SessionModel(keras.Model):
    """A functional Keras model that recommends the next item of a session.

    Outputs are one tensor, a list or a dict of them, of two kinds. Scores of a
    `NextItemHead` train on the loss of their head, with the targets of the scheme, and
    are evaluated by ranking the item that came next among all items, through the very
    path that serves. All others are Keras's own: `compile` names their losses and
    metrics, and the loader gives their targets.

    Targets and sample weights are one array, for a single output, or dicts by the
    outputs' names; for next-item outputs also by the name of their column.

    Args:
        inputs: dict of `keras.Input`, as of `Schema.inputs`.
        outputs: tensor, list or dict of tensors.
        name: string.

    Raises:
        ValueError: scheme and body do not go together, or a head scores other ids than
            the schema has.

    Example:

    ```python
    model = SessionModel(inputs, scores)
    model.compile(keras.optimizers.Adam(1e-3), metrics=[NDCG(20), Recall(20)])
    model.fit(KerasSequenceLoader("sessions/1", schema, 384), epochs=5)
    model.evaluate(KerasSequenceLoader("sessions/2", schema, 512, target="last"))
    model.recommend({"item_id": [["214717005", "214716986"]]}, k=10)
    ```

    With more outputs:

    ```python
    model = SessionModel(inputs, {"next_item": scores, "bought": bought})
    model.compile("adamw", loss={"bought": "binary_crossentropy"},
                  loss_weights={"bought": 0.3},
                  metrics={"next_item": [NDCG(20)], "bought": ["auc"]})
    model.fit(KerasSequenceLoader("sessions/1", schema, 384, targets=["bought"]))
    ```
    """

    def __init__(self, inputs, outputs, name=None, **kwargs):
        super().__init__(inputs, keep_masks(inputs, outputs), name=name, **kwargs)
        check_schemes(layers_of(self))
        if self._find_features() is not None:
            check_heads(self.heads, self.schema)

    # Outputs

    @property
    def heads(self):
        """Dict of output name to `NextItemHead`, of those outputs that are of one."""
        tensors = by_output(self._names, self.output)
        found = {name: head_of(tensor) for name, tensor in tensors.items()}
        return {name: head for name, head in found.items() if head is not None}

    @property
    def _names(self):
        return output_names(self)

    def _targets(self, y):
        columns = {name: head.target for name, head in self.heads.items()}
        features = self._find_features()
        if features is not None:
            item = features.schema.item_id
            columns = {name: column or item for name, column in columns.items()}
        return targets_by_output(y, self._names, columns)

    # Training and evaluation

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile="auto",
        auto_scale_loss=True,
        *,
        probe=True,
    ):
        """Configures training, as `keras.Model.compile` does.

        Args:
            optimizer, run_eagerly, steps_per_execution, auto_scale_loss: as in
                `keras.Model.compile`.
            loss: by output name, for outputs that are no next-item scores; these train
                on the loss of their head.
            loss_weights: dict of output name to float, for outputs of both kinds.
            metrics: by output name, or a list where there is one output. Those of
                next-item outputs read scores of all items, as `keras_t4r.metrics` do;
                they are computed in evaluation and on validation data only, where there
                is a target to rank.
            weighted_metrics: the same; these count sample weights.
            jit_compile: as in `keras.Model.compile`. On TensorFlow a next-item head
                gathers the positions that have a target, whose number XLA would have to
                know: there it must be `"auto"` or false.
            probe: bool. Whether the first `fit` tries out layers that the package does
                not know: a causal scheme must not see later events, nor any of them
                padding. It costs a few calls on one short session.

        Raises:
            ValueError: a name is not that of an output, a loss is meant for a next-item
                output, or XLA is asked for where it cannot be had.
        """
        names, heads = self._names, self.heads
        arguments = CompileArguments.sort(
            names,
            heads,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
        )
        if heads and backend_name() == "tensorflow":
            if jit_compile is True:
                raise ValueError(
                    "jit_compile=True cannot be had on TensorFlow with a NextItemHead: "
                    "it gathers the positions that have a target, and XLA would have "
                    'to know their number. Leave it at "auto".'
                )
            jit_compile = False
        super().compile(
            optimizer=optimizer,
            loss=arguments.losses or None,
            loss_weights=arguments.loss_weights or None,
            metrics=arguments.metrics or None,
            weighted_metrics=arguments.weighted_metrics or None,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        # So that a model that is saved before it was fit comes back whole.
        self.optimizer.build(self.trainable_variables)
        self._arguments = arguments
        self._probe, self._probed = probe, not probe

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            given = {**self._arguments.given, "probe": self._probe}
            config.update(keras.saving.serialize_keras_object(given))
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    # Before `compile` there is none.
    _arguments = None

    @property
    def metrics(self):
        if self._arguments is None:
            return super().metrics
        ranking = self._arguments.ranking
        return [*super().metrics, *ranking.by_log.values(), ranking.directions]

    @property
    def ranking_metrics(self):
        """Dict of next-item output to its ranking metrics, by their names in the logs.

        Where there are several outputs, the logs name the output, too:
        `next_item_ndcg_20`.
        """
        if self._arguments is None:
            return {}
        by_output = self._arguments.ranking.by_output
        return {
            name: {
                log: metric
                for log, metric in by_output.get(name, {}).items()
                if isinstance(metric, RankingMetric)
            }
            for name in self.heads
        }

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=None,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
    ):
        """Trains as `keras.Model.fit` does.

        Args:
            shuffle: bool. `None` shuffles arrays, as Keras does, but leaves a
                `KerasSequenceLoader` the order that it draws from its seed and the
                epoch.
            class_weight: refused where there is a next-item output, whose targets are
                the scheme's.
            x, y, batch_size, epochs, verbose, callbacks, validation_split,
                validation_data, sample_weight, initial_epoch, steps_per_epoch,
                validation_steps, validation_batch_size, validation_freq: as in
                `keras.Model.fit`.

        Raises:
            ValueError: the loader holds back the last item, or gives what the model
                does not read (see `check_loader`), or a layer sees what it must not
                see.
        """
        if class_weight is not None and self.heads:
            raise ValueError(
                "class_weight has no meaning for next-item outputs, whose targets come "
                "from the scheme: give sessions a sample_weight."
            )
        if isinstance(x, KerasSequenceLoader):
            self.check_loader(x)
            if x.target is not None:
                raise ValueError(
                    "fit trains on whole sessions, but the loader holds back their "
                    f"last item: make it without target={x.target!r}."
                )
        if isinstance(validation_data, KerasSequenceLoader):
            self.check_loader(validation_data)
        if not self._probed:
            try_out(self, *self._read())
            self._probed = True
        if shuffle is None:
            shuffle = not isinstance(x, keras.utils.PyDataset)
        y, sample_weight = self._pack_weights(y, sample_weight)
        callbacks = follow_epochs(callbacks, x)
        if has_global_random_state():
            seed = EpochSeed()
            # A `CallbackList` has its model already.
            seed.set_model(self)
            callbacks = with_callback(callbacks, seed)
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        *,
        exclude_seen=False,
        **kwargs,
    ):
        """Evaluates as `keras.Model.evaluate` does, by the path that serves.

        Next-item outputs rank the item that came next among all items, from the newest
        `max_history` events.

        Args:
            exclude_seen: bool. Leave out the items of the session itself, as
                `recommend` does: a target among them is then a miss.
            x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict,
                **kwargs: as in `keras.Model.evaluate`.

        Raises:
            ValueError: the loader gives what the model does not read (see
                `check_loader`), or there is no target.
        """
        if isinstance(x, KerasSequenceLoader):
            self.check_loader(x)
        if exclude_seen:
            self._excludes_seen = True
            self.make_test_function(force=True)
        y, sample_weight = self._pack_weights(y, sample_weight)
        self._evaluates = True
        try:
            return super().evaluate(
                x,
                y,
                batch_size=batch_size,
                verbose=verbose,
                sample_weight=sample_weight,
                steps=steps,
                callbacks=callbacks,
                return_dict=return_dict,
                **kwargs,
            )
        finally:
            self._evaluates = False
            if exclude_seen:
                self._excludes_seen = False
                self.test_function = None

    # Whether `evaluate` is running: the logs then hold ranks.
    _evaluates = False
    _excludes_seen = False

    def check_loader(self, loader):
        """Checks that a `KerasSequenceLoader` gives what the model reads.

        `fit` and `evaluate` do so.

        Raises:
            ValueError: it shows more events than the model serves with, or its ids were
                encoded by another vocabulary than the model's.
        """
        if self._find_features() is None:
            return
        loader.check_ids(self.features.vocabularies_here)
        most = self.max_history + (loader.target is None)
        if loader.max_length > most:
            raise ValueError(
                f"The loader gives up to {loader.max_length} events of a session, but "
                f"the model reads {most}: make the loader with max_length={most}, or "
                "the features with "
                f"max_length={loader.max_length + (loader.target is not None)}."
            )

    def _pack_weights(self, y, sample_weight):
        if sample_weight is None or not self.heads:
            return y, sample_weight
        y = y if isinstance(y, dict) else self._targets(y)
        return pack_weights(y, sample_weight), None

    def train_step(self, *args):
        # On JAX the state comes first.
        *state, data = args
        x, y, sample_weight = unpack(data)
        with weighing(self._weights_of_layers(sample_weight)):
            return super().train_step(*state, (x, y, sample_weight))

    def test_step(self, *args):
        *state, data = args
        x, y, sample_weight = unpack(data)
        missing = sorted(set(self.heads) - set(self._targets(y)))
        if missing:
            raise ValueError(
                f"There is no target to evaluate {missing} on: make the loader with "
                "target='last'."
            )
        if self._find_features() is not None and isinstance(x, dict):
            x = self.newest(x)
        self._tests = True
        try:
            return super().test_step(*state, (x, y, sample_weight))
        finally:
            self._tests = False

    # Whether a step of `evaluate` is being computed. Keras tells `compute_loss` only
    # where its override has a `training` argument.
    _tests = False

    def _weights_of_layers(self, sample_weight):
        """What counts for the layers that add losses, by their names."""
        by_name = weights_by_output(sample_weight, self._names)
        several = isinstance(sample_weight, (dict, list, tuple))
        weights = {None: Weight(sessions=None if several else sample_weight)}
        for name, head in self.heads.items():
            factor = self._arguments.weights_of_heads.get(name, 1.0)
            weights[head.name] = Weight(factor, by_name.get(name))
        return weights

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        names, heads = self._names, self.heads
        outputs, targets = by_output(names, y_pred), self._targets(y)
        weights = weights_by_output(sample_weight, names)
        training = training and not self._tests
        if training:
            self._refuse_targets_of_heads(targets)
        losses = self._arguments.losses
        self._need(losses, targets, "a loss")
        loss = 0.0
        if losses or self.losses:
            taken = as_keras_takes(losses, targets, outputs, weights)
            loss = super().compute_loss(x, *taken, training=training)
        elif training:
            raise ValueError(
                "The model has no loss to train on: an output must come from a "
                "NextItemHead, or compile must be given a loss."
            )
        if training:
            return loss
        for name in heads:
            if name in targets:
                scores = self._served(outputs[name], x)
                one = next_item_loss(targets[name], scores, weights.get(name))
                factor = self._arguments.weights_of_heads.get(name, 1.0)
                loss = loss + scale_for_replicas(factor * one)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        names, heads = self._names, self.heads
        outputs, targets = by_output(names, y_pred), self._targets(y)
        weights = weights_by_output(sample_weight, names)
        measured = self._arguments.measured
        if measured:
            self._need(measured, targets, "metrics")
            super().compute_metrics(
                x, *as_keras_takes(measured, targets, outputs, weights)
            )
        ranking = self._arguments.ranking
        ranked = [name for name in heads if name in targets]
        for name in ranked:
            scores = self._served(outputs[name], x)
            ranking.update(name, targets[name], scores, weights.get(name))
        # In training there is nothing to rank.
        logs = self._plain_result()
        return {**logs, **ranking.result()} if ranked else logs

    def get_metrics_result(self):
        ranks = self._arguments.ranking.result() if self._evaluates else {}
        return {**self._plain_result(), **ranks}

    def _plain_result(self):
        # Keras, which is shown the measured outputs only, names none where it is one.
        measured = self._arguments.measured
        alone = len(measured) == 1 < len(self._names)
        prefix = "".join(f"{name}_" for name in measured) if alone else ""
        logs = {}
        for metric in super().metrics:
            result = metric.result()
            if isinstance(result, dict):
                logs.update({f"{prefix}{log}": value for log, value in result.items()})
            else:
                logs[metric.name] = result
        return logs

    def _served(self, scores, x):
        """Scores as `recommend` ranks them."""
        if not self._excludes_seen:
            return scores
        return hide_seen(scores, x[self.schema.item_id])

    def _need(self, names, targets, what):
        missing = sorted(set(names) - set(targets))
        if missing:
            raise ValueError(
                f"The outputs {missing} have {what}, but the data has no targets of "
                f"theirs; it has {sorted(targets)}. Make the loader with "
                f"targets={missing}."
            )

    def _refuse_targets_of_heads(self, targets):
        given = sorted(set(self.heads) & set(targets))
        if given:
            raise ValueError(
                f"fit was given targets of {given}, but next-item outputs take theirs "
                "from the scheme: train on whole sessions, without these targets."
            )

    # The states of random generators, which Keras's weights files leave out: with them
    # a run that `BackupAndRestore` takes up goes on as if it had never stopped.

    def _seeds(self):
        weights = {id(v) for v in self.non_trainable_weights}
        return [v for v in self.non_trainable_variables if id(v) not in weights]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for number, state in enumerate(self._seeds()):
            store[f"seed_{number}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store):
        held = {key: store[key] for key in store.keys()}
        for number, state in enumerate(self._seeds()):
            value = held.pop(f"seed_{number}", None)
            if value is not None:
                state.assign(value)
        super().load_own_variables(held)

    # Recommending

    def _find_features(self):
        for layer in layers_of(self):
            if isinstance(layer, SequenceEmbeddingFeatures):
                return layer
        return None

    def _read(self):
        """`(schema, max_history)`, as far as they are known."""
        features = self._find_features()
        if features is None:
            return None, 8
        return features.schema, self.max_history

    @property
    def features(self):
        """The layer that embeds the inputs."""
        features = self._find_features()
        if features is None:
            raise ValueError(
                "The model has no SequenceEmbeddingFeatures, so the columns of its "
                "inputs are not known."
            )
        return features

    @property
    def memory(self):
        """The `TransitionMemory` among the layers, or `None`."""
        found = find_memories(self)
        return found[0] if found else None

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
        return max(1, self.features.max_length - 1)

    def _head_name(self, head):
        """Name of the output that answers: the one of items, or the named one."""
        of_items = [name for name, h in self.heads.items() if h.target is None]
        if head is None and len(of_items) == 1:
            return of_items[0]
        if head in of_items:
            return head
        raise ValueError(
            f"Say which output answers, by head=: it is one of {of_items}, "
            f"not {head!r}."
            if of_items
            else "The model has no next-item output of its items to answer with."
        )

    def top_k(self, inputs, k=10, exclude_seen=False, head=None):
        """Scores and ids of the best items; traceable, for export.

        Args:
            inputs: dict of column to tensor, encoded and right-padded.
            k: int.
            exclude_seen: bool. Leave out the items of the session itself.
            head: string. Name of the output that answers, where several do.

        Returns:
            The pair of scores `(batch, k)` and encoded ids `(batch, k)`.
        """
        self._check_k(k)
        seen = inputs[self.schema.item_id] if exclude_seen else None
        outputs = by_output(self._names, self(self.newest(inputs), training=False))
        return top_k(outputs[self._head_name(head)], k, self._first_id, seen)

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
        """Cuts right-padded sessions to their newest `max_history` events.

        Columns that the schema does not name, and those of one value a session, are
        handed on as they are.
        """
        item_ids = ops.convert_to_tensor(inputs[self.schema.item_id])
        time, width = self.max_history, ops.shape(item_ids)[1]
        # PyTorch's Keras takes no dict of tensors and arrays.
        tensors = {name: ops.convert_to_tensor(x) for name, x in inputs.items()}
        if isinstance(width, int):
            if width <= time:
                return tensors
            width = time
        else:
            width = ops.minimum(width, time)
        real = ops.not_equal(item_ids, 0)
        length = ops.sum(ops.cast(real, "int32"), axis=1, keepdims=True)
        shift = ops.maximum(length - time, 0)
        index = ops.arange(width, dtype="int32")[None, :] + shift
        lists = {c.name for c in self.schema if c.is_list}
        return {
            name: ops.take_along_axis(x, index, axis=1) if name in lists else x
            for name, x in tensors.items()
        }

    @functools.cached_property
    def _recommender(self):
        return Recommender(self)

    def recommend(
        self,
        sessions,
        k=10,
        exclude_seen=False,
        batch_size=256,
        encoded=None,
        *,
        head=None,
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
            head: string. Name of the output that answers, where several do.

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
            sessions,
            batch_size,
            encoded,
            k=k,
            exclude_seen=exclude_seen,
            head=self._head_name(head),
        )

    def decode(self, ids):
        """Raw values of encoded item ids; the ids themselves without a vocabulary.

        Ids that are no items come out as `None` for text, as -1 for integers.
        """
        return self._recommender.decode(ids)
