import keras

from keras_t4r.arguments import optional, truth, whole_number
from keras_t4r.backend import (
    build_optimizer,
    has_global_random_state,
    jax_state,
    weights_kept,
)
from keras_t4r.backend import name as backend_name
from keras_t4r.data.loader.loader_epoch import follow_epochs, with_callback
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.layers.heads.next_item_head import NextItemHead
from keras_t4r.metrics.ranking_metric import RankingMetric
from keras_t4r.models.checks.head_checks import check_trained
from keras_t4r.models.checks.id_checks import check_ids
from keras_t4r.models.checks.input_checks import check_inputs, sessions_of
from keras_t4r.models.checks.probe import probe as try_out
from keras_t4r.models.checks.run_arguments import (
    check_epochs,
    check_run,
    check_validation,
)
from keras_t4r.models.checks.target_checks import check_targets, check_weights
from keras_t4r.models.checks.vector_checks import check_vectors
from keras_t4r.models.datasets.batch_check import BatchCheck
from keras_t4r.models.datasets.checked_data import checked
from keras_t4r.models.datasets.dataset_errors import raised_as_they_were
from keras_t4r.models.graph import by_output, find_layers, is_of_events
from keras_t4r.models.stepping_model import SteppingModel
from keras_t4r.models.steps.compile_arguments import CompileArguments
from keras_t4r.models.steps.epoch_seed import EpochSeed
from keras_t4r.models.steps.output_losses import OutputLosses
from keras_t4r.models.steps.step_data import pack_weights, unpack


class TrainedModel(SteppingModel):
    """How a `SessionModel` trains on the losses of its heads, and is ranked."""

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
            loss_weights: dict of output name to float, for outputs of both kinds; or a
                list in the order of the outputs, or a float for the only one.
            metrics: by output name, or a list where there is one output. Those of
                next-item outputs read scores of all items, as `keras_t4r.metrics` do;
                they are computed in evaluation and on validation data only, where there
                is a target to rank.
            weighted_metrics: the same; these count sample weights. Of outputs with a
                value an event all metrics do, for padding has weight 0.
            jit_compile: as in `keras.Model.compile`. On TensorFlow a next-item head
                gathers the positions that have a target, whose number XLA would have to
                know: there it must be `"auto"` or false.
            probe: bool. Whether the first `fit` tries out layers that the package does
                not know: a causal scheme must not see later events, nor any of them
                padding. It costs a few calls on one short session.

        Raises:
            TypeError: `run_eagerly`, `jit_compile` or `probe` is no truth value, a loss
                weight no number, or `steps_per_execution` no whole one.
            ValueError: a name is not that of an output, a loss is meant for a next-item
                output or a weight for one without a loss, a metric is called `loss`,
                a next-item output's metric is no object, outputs of one head have
                weights of their own, or XLA is asked for where it cannot be had.
        """
        probe = truth("probe", probe)
        run_eagerly = bool(optional(truth, "run_eagerly", run_eagerly))
        # Keras reads `None` so.
        jit_compile = "auto" if jit_compile is None else jit_compile
        if jit_compile != "auto":
            jit_compile = truth("jit_compile", jit_compile)
        steps_per_execution = whole_number("steps_per_execution", steps_per_execution)
        names, heads = self._names, self.heads
        arguments = CompileArguments.sort(
            names,
            heads,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
        )
        # As given: what it comes to depends on the backend that loads the model.
        self._jit_as_given = jit_compile
        if heads and backend_name() == "tensorflow":
            if jit_compile is True:
                raise ValueError(
                    "jit_compile=True cannot be had on TensorFlow with a NextItemHead: "
                    "it gathers the positions that have a target, and XLA would have "
                    'to know their number. Leave it at "auto".'
                )
            jit_compile = False
        outputs = by_output(names, self.output)
        check_trained(outputs, {*arguments.losses, *arguments.measured})
        of_events = [n for n in names if n not in heads and is_of_events(outputs[n])]
        plain, weighted = arguments.metrics_for_keras(of_events)
        # Keras keeps those of the `compile` before where there are none now.
        self._compile_loss = self._compile_metrics = self.loss = None
        super().compile(
            optimizer=optimizer,
            loss=arguments.losses or None,
            loss_weights=arguments.loss_weights or None,
            metrics=plain,
            weighted_metrics=weighted,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        self._arguments = arguments
        self._output_losses = OutputLosses(heads, arguments.loss_weights)
        self._probe, self._probed = probe, not probe
        self._losses_checked = False

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            given = {
                **self._arguments.given,
                "jit_compile": self._jit_as_given,
                "probe": self._probe,
                # By it Keras scales the loss; a model's own config has none.
                "dtype_policy": self.dtype_policy,
            }
            config.update(keras.saving.serialize_keras_object(given))
        return config

    @property
    def compiled_with(self):
        """What `compile` was given: a dict of `loss`, `loss_weights`, `metrics` and
        `weighted_metrics`."""
        self._need_compile()
        return dict(self._arguments.given)

    def compile_from_config(self, config):
        arguments = keras.saving.deserialize_keras_object(config)
        self.dtype_policy = arguments.pop("dtype_policy", self.dtype_policy)
        self.compile(**arguments)
        # Its variables are loaded next.
        build_optimizer(self)

    def _need_compile(self):
        if self._arguments is None:
            raise ValueError("Compile the model first: call compile().")

    def need_optimizer(self):
        """Raises `ValueError` where the model was compiled to be evaluated only."""
        if self.optimizer is None:
            raise ValueError(
                "The model was compiled with optimizer=None, so it can be evaluated, "
                "not trained: compile it with an optimizer."
            )

    @property
    def metrics(self):
        if self._arguments is None:
            return super().metrics
        ranking, losses = self._arguments.ranking, self._output_losses.metrics
        ranked = [*ranking.by_log.values(), ranking.directions]
        # In the order of the logs, and what is in none of them last.
        return [*super().metrics, *losses, *ranked, *self._output_losses.counts]

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

        What is asked of arrays is asked of each batch of a dataset: a `PyDataset`, a
        generator, a `tf.data.Dataset`, a PyTorch `DataLoader`. A
        `tf.distribute.DistributedDataset` and Grain's are not looked at.

        An epoch in which a next-item output had no target at all warns, and its loss
        is NaN.

        Args:
            shuffle: bool. `None` shuffles arrays and the batches of a `PyDataset`, as
                Keras does, but leaves a `KerasSequenceLoader` the order that it draws
                from its seed and the epoch. Other datasets have their own, too.
            class_weight: refused where there is a next-item output, whose targets are
                the scheme's.
            sample_weight: one weight a session, `(sessions,)`, for all outputs or by
                the output's name. An output with a value an event, which is no
                next-item one, also takes one an event, `(sessions, time)`; a
                `NextItemHead` takes these in its call.
            x, y, batch_size, epochs, verbose, callbacks, validation_split,
                validation_data, initial_epoch, steps_per_epoch, validation_steps,
                validation_batch_size, validation_freq: as in `keras.Model.fit`.

        Raises:
            TypeError: `x` is neither a loader or other dataset nor a dict of arrays, or
                arrays hold what they should not.
            ValueError: the loader holds back the last item, or gives what the model
                does not read (see `check_loader`), or a layer sees what it must not
                see; arrays are no right-padded sessions, no ids of the outputs, or
                weights below 0 or of another shape.
        """
        self._need_compile()
        self.need_optimizer()
        check_run(
            x,
            batch_size=batch_size,
            verbose=verbose,
            callbacks=callbacks,
            steps_per_epoch=steps_per_epoch,
        )
        check_epochs(epochs, initial_epoch)
        check_validation(
            validation_data,
            validation_split,
            batch_size=validation_batch_size,
            steps=validation_steps,
            frequency=validation_freq,
        )
        # Keras takes "batch" as well.
        if shuffle not in (None, "batch"):
            shuffle = truth("shuffle", shuffle)
        if validation_split and self.heads:
            raise ValueError(
                "validation_split cannot be had with a next-item output: sessions are "
                "trained on whole, but evaluated without their last item. Give "
                "validation_data, a loader with target='last'."
            )
        self._refuse_class_weight(class_weight)
        self._check_inputs(x)
        if isinstance(x, KerasSequenceLoader):
            self.check_loader(x)
            if x.target is not None:
                raise ValueError(
                    "fit trains on whole sessions, but the loader holds back their "
                    f"last item: make it without target={x.target!r}."
                )
        if isinstance(y, dict):
            unknown = sorted(set(y) - {*self._names, *self._columns.values()})
            if unknown:
                raise ValueError(
                    f"y has an entry for {unknown}, but the model's outputs are "
                    f"{self._names}."
                )
        # Here as well as in the step: on JAX a step that fails takes the weights along.
        self._refuse_targets_of_heads(self._targets(y))
        if isinstance(validation_data, KerasSequenceLoader):
            self._check_test_loader(validation_data)
        elif isinstance(validation_data, (list, tuple)):
            inputs, held_out, weights = unpack(tuple(validation_data))
            self._check_inputs(inputs)
            self._check_weights(inputs, held_out, weights)
            inputs = self._checked(inputs, "xyw")
            validation_data = (inputs, self._held_out(held_out), weights)
        else:
            validation_data = self._checked(validation_data, "xyw")
        self._check_losses()
        if not self._probed:
            try_out(self, *self._read())
            self._probed = True
        if shuffle is None:
            batches = isinstance(x, keras.utils.PyDataset)
            batches = batches and not isinstance(x, KerasSequenceLoader)
            shuffle = batches or _are_arrays(x)
        # TensorFlow traces a step that makes variables twice.
        build_optimizer(self)
        y, sample_weight = self._pack_weights(x, y, sample_weight)
        callbacks = follow_epochs(callbacks, x)
        if has_global_random_state():
            callbacks = with_callback(callbacks, EpochSeed())
        with raised_as_they_were(), weights_kept(self):
            return super().fit(
                self._checked(x, "xw"),
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
        `max_history` events. Where scores are NaN, loss and metrics are. Where no
        target is an item that can be answered, `evaluate` warns, and the loss is NaN.

        Args:
            exclude_seen: bool. Leave out the items of the session itself, as
                `recommend` does: a target among them is then a miss. A model that
                always does so has a `NoRepeat(of="session")` behind its head.
            x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict,
                **kwargs: as in `keras.Model.evaluate`.

        Raises:
            TypeError, ValueError: the loader gives what the model does not read (see
                `check_loader`), or there is no target; arrays: see `fit`.
        """
        self._need_compile()
        how = dict(verbose=verbose, callbacks=callbacks, steps=steps)
        # `fit` hands on its own batch size, which is none of a loader to validate on.
        of_fit = "_use_cached_eval_dataset" in kwargs
        check_run(x, batch_size=None if of_fit else batch_size, **how)
        exclude_seen = truth("exclude_seen", exclude_seen)
        self._check_inputs(x)
        if isinstance(x, KerasSequenceLoader):
            self._check_test_loader(x)
        elif y is not None:
            y = self._held_out(y)
        if exclude_seen:
            self._excludes_seen = True
            self.make_test_function(force=True)
        y, sample_weight = self._pack_weights(x, y, sample_weight)
        if not of_fit:
            x = self._checked(x, "xyw")
        self._evaluates = True
        try:
            with raised_as_they_were(), weights_kept(self):
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

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Predicts as `keras.Model.predict` does, from the newest `max_history` events.

        Raises:
            ValueError: arrays are no right-padded sessions (see `check_inputs`), or a
                loader's ids were encoded by another vocabulary than the model's.
        """
        how = dict(verbose=verbose, callbacks=callbacks, steps=steps)
        check_run(x, batch_size=batch_size, **how)
        self._check_inputs(x)
        if isinstance(x, KerasSequenceLoader):
            check_ids(self, x)
        x = self._checked(x, "x")
        with raised_as_they_were(), weights_kept(self):
            return super().predict(x, batch_size, verbose, steps, callbacks)

    def _get_jax_state(self, **asked):
        state = super()._get_jax_state(**asked)
        if asked.get("purge_model_variables"):
            self._jax_state = jax_state(state, asked)
        return state

    def predict_on_batch(self, x):
        self._check_inputs(x)
        return super().predict_on_batch(x)

    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, return_dict=False
    ):
        self._need_compile()
        self._check_losses()
        self.need_optimizer()
        self._check_inputs(x)
        self._refuse_targets_of_heads(self._targets(y))
        self._refuse_class_weight(class_weight)
        y, sample_weight = self._pack_weights(x, y, sample_weight)
        return super().train_on_batch(x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        self._need_compile()
        self._check_inputs(x)
        y = self._held_out(y)
        y, sample_weight = self._pack_weights(x, y, sample_weight)
        return super().test_on_batch(x, y, sample_weight, return_dict)

    def _check_inputs(self, x):
        if self._find_features() is not None:
            check_inputs(x, self.schema)
            check_vectors(self)

    def _check_weights(self, x, y, sample_weight):
        schema, _ = self._read()
        weights, targets = self._weights(sample_weight), self._targets(y)
        check_weights(weights, targets, self._axes(), sessions_of(x, schema))

    def _rows(self):
        return {name: head.rows for name, head in self.heads.items()}

    def _axes(self):
        tensors = by_output(self._names, self.output)
        axes = {name: len(tensor.shape) for name, tensor in tensors.items()}
        return {**axes, **dict.fromkeys(self.heads, 1)}

    def _checked(self, data, reads):
        """Data, of which each batch is looked at; see `BatchCheck`."""
        schema, _ = self._read()
        columns, rows = self._columns, self._rows()
        check = BatchCheck(schema, self._names, columns, rows, self._axes(), reads)
        return checked(data, check.look_at)

    def _check_losses(self):
        if not self._losses_checked:
            for head in find_layers(self, NextItemHead):
                head.check_loss()
        self._losses_checked = True

    def _refuse_class_weight(self, class_weight):
        if class_weight is not None and self.heads:
            raise ValueError(
                "class_weight has no meaning for next-item outputs, whose targets come "
                "from the scheme: give sessions a sample_weight."
            )

    def check_loader(self, loader):
        """Checks that a `KerasSequenceLoader` gives what the model reads.

        `fit` and `evaluate` do so.

        Raises:
            ValueError: it shows more events than the model serves with, or its ids were
                encoded by another vocabulary than the model's.
        """
        check_ids(self, loader)
        if self._find_features() is None:
            return
        most = self.max_history + (loader.target is None)
        if loader.max_length > most:
            raise ValueError(
                f"The loader gives up to {loader.max_length} events of a session, but "
                f"the model reads {most}: make the loader with max_length={most}, or "
                "the features with "
                f"max_length={loader.max_length + (loader.target is not None)}."
            )

    def _check_test_loader(self, loader):
        self.check_loader(loader)
        if loader.target is None:
            self._need_targets_of_heads({})

    def _held_out(self, y):
        """Targets to evaluate on, checked; by output, for all steps in one shape."""
        targets = self._targets(y)
        self._need_targets_of_heads(targets)
        check_targets(targets, self._rows())
        return targets if self.heads else y

    def _pack_weights(self, x, y, sample_weight):
        self._check_weights(x, y, sample_weight)
        # Beside a loader there can be none: Keras says so.
        if sample_weight is None or not (self.heads and _are_arrays(x)):
            return y, sample_weight
        y = y if isinstance(y, dict) else self._targets(y)
        return pack_weights(y, sample_weight), None


def _are_arrays(x):
    return isinstance(x, (dict, list, tuple)) or hasattr(x, "shape")
