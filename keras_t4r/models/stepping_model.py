import contextvars

from keras import ops

from keras_t4r.backend import as_numbers, mask_of, replicas, rows_trained_alone
from keras_t4r.layers.heads.weighing import (
    Weight,
    losses_over_replicas,
    over_replicas,
    weighing,
)
from keras_t4r.layers.hidden_scores import hide_items
from keras_t4r.models.graph import (
    by_output,
    is_of_events,
    schemes_before,
    way_from_head,
)
from keras_t4r.models.reading_model import ReadingModel
from keras_t4r.models.steps.likelihood import next_item_loss
from keras_t4r.models.steps.step_data import (
    as_keras_takes,
    targets_by_output,
    unpack,
    weights_by_output,
)
from keras_t4r.optimizers.row_sparse import variables_by_rows

# Within a step of `evaluate`, the pair of `True` and the items of the sessions that it
# evaluates, those among them that are cut off. Keras tells `compute_loss` that it
# evaluates only where its override has a `training` argument, and the metrics never.
_test = contextvars.ContextVar("test", default=(False, None))


class SteppingModel(ReadingModel):
    """What a `SessionModel` computes in a step of training, evaluating, predicting."""

    # The `CompileArguments` and `OutputLosses`; before `compile` there are none.
    _arguments = _output_losses = None
    # Whether `evaluate` is running, so that the logs hold ranks, and whether it leaves
    # out the items of the session itself.
    _evaluates = False
    _excludes_seen = False

    def call(self, inputs, training=None, mask=None, **kwargs):
        optimizer = getattr(self, "optimizer", None)
        if optimizer is None:
            return super().call(inputs, training=training, mask=mask, **kwargs)
        with rows_trained_alone(variables_by_rows(optimizer)):
            return super().call(inputs, training=training, mask=mask, **kwargs)

    def train_step(self, *args):
        # On JAX the state comes first.
        *state, data = args
        x, y, sample_weight = unpack(data)
        with weighing(self._weights_of_layers(sample_weight)):
            return super().train_step(*state, (x, y, sample_weight))

    def test_step(self, *args):
        *state, data = args
        x, y, sample_weight = unpack(data)
        self._need_targets_of_heads(self._targets(y))
        y, sample_weight = self._cut_values(x, y, sample_weight)
        items, x = self._cut(x)
        token = _test.set((True, items))
        try:
            return super().test_step(*state, (x, y, sample_weight))
        finally:
            _test.reset(token)

    def predict_step(self, *args):
        # The model reads as many events here as when it answers.
        *state, data = args
        x, _, _ = unpack(data)
        return super().predict_step(*state, (self._cut(x)[1],))

    def _cut(self, x):
        """All items of the sessions, and inputs of the newest events only."""
        if self._find_features() is None or not isinstance(x, dict):
            return None, x
        return x[self.schema.item_id], self.newest(x)

    def _cut_values(self, x, y, sample_weight):
        """Targets and weights; those of events are cut as the events are."""
        tensors = by_output(self._names, self.output)
        of_events = {name for name, tensor in tensors.items() if is_of_events(tensor)}
        known = self._find_features() is not None and isinstance(x, dict)
        if not (known and of_events):
            return y, sample_weight
        found = []
        for values in (self._targets(y), self._weights(sample_weight)):
            of_time = [n for n in of_events & set(values) if len(values[n].shape) > 1]
            cut = self.newest(x, {name: values[name] for name in of_time})
            found.append({**values, **cut} or None)
        return found

    def _weights_of_layers(self, sample_weight):
        """What counts for the layers that add losses, by their `id`.

        Raises:
            ValueError: outputs of one head have weights of their own.
        """
        by_name = self._weights(sample_weight)
        several = isinstance(sample_weight, (dict, list, tuple))
        weights = {None: Weight(sessions=None if several else sample_weight)}
        for name, tensor in by_output(self._names, self.output).items():
            factor = self._arguments.weights_of_heads.get(name, 1.0)
            for layer in way_from_head(tensor):
                before = weights.get(id(layer), Weight()).sessions
                given = by_name.get(name, before)
                if before is not None and given is not before:
                    raise ValueError(
                        f"The output {name!r} is of a head that another output is of, "
                        "too, and that has one loss: give one of them a sample_weight."
                    )
                weights[id(layer)] = Weight(factor, given)
        return weights

    def _event_masks(self, x, outputs):
        """Dict of output of events to the bool mask of those that count, if known.

        The output carries it, but for JAX's metrics, which are shown another tensor.
        """
        tensors, masks = by_output(self._names, self.output), {}
        known = self._find_features() is not None and isinstance(x, dict)
        for name, tensor in tensors.items():
            if not is_of_events(tensor):
                continue
            mask = mask_of(outputs[name])
            if mask is None and known:
                mask = ops.not_equal(x[self.schema.item_id], 0)
                for scheme in schemes_before(tensor)[:1]:
                    mask = scheme.event_mask(mask, training=not _test.get()[0])
            masks[name] = mask
        return masks

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        names, heads = self._names, self.heads
        outputs, targets = by_output(names, y_pred), self._targets(y)
        weights = self._weights(sample_weight)
        training = training and not _test.get()[0]
        if training:
            self._refuse_targets_of_heads(targets)
        losses = self._arguments.losses
        self._need(losses, targets, "a loss")
        loss = 0.0
        if losses or self.losses:
            masks = self._event_masks(x, outputs)
            taken = as_keras_takes(losses, targets, outputs, weights, masks)
            loss = super().compute_loss(x, *taken, training=training)
        elif training:
            raise ValueError(
                "The model has no loss to train on: an output must come from a "
                "NextItemHead, or compile must be given a loss."
            )
        single = self._output_losses.of_others(loss, self.losses)
        # From here on replicas wait for each other.
        if training:
            of_layers, counts, correction = losses_over_replicas()
            single.update(self._sums_of_heads(of_layers))
            counts = self._sums_of_heads(counts)
            loss = loss + correction / replicas()
        else:
            of_heads, counts = self._losses_of_scores(outputs, targets, weights)
            single.update(of_heads)
            # Two outputs of one head have one loss, as in training.
            once = {id(head): name for name, head in reversed(heads.items())}
            for name in filter(of_heads.__contains__, once.values()):
                factor = self._arguments.weights_of_heads[name]
                loss = loss + factor * of_heads[name] / replicas()
        sessions = ops.shape(outputs[names[0]])[0]
        self._output_losses.update(single, counts, sessions)
        return loss

    def _losses_of_scores(self, outputs, targets, weights):
        """The losses of the scores of next-item outputs, as they are served.

        Returns:
            The pair of a dict of next-item output to its loss, and one to the number
            of its targets.
        """
        losses, counts = {}, {}
        for name in self.heads:
            if name in targets:
                scores = self._served(name, outputs[name])
                total, counts[name] = next_item_loss(
                    targets[name], scores, weights.get(name)
                )
                losses[name] = over_replicas(total, counts[name])
        return losses, counts

    def _sums_of_heads(self, of_layers):
        """Dict of next-item output to the sum over its head and the steps after it.

        Args:
            of_layers: dict of a layer's `id` to its loss, or number of targets.
        """
        sums = {}
        for name, tensor in by_output(self._names, self.output).items():
            way = [of_layers.get(id(layer)) for layer in way_from_head(tensor)]
            if way := [value for value in way if value is not None]:
                sums[name] = sum(way)
        return sums

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        names, heads = self._names, self.heads
        outputs, targets = by_output(names, y_pred), self._targets(y)
        weights = self._weights(sample_weight)
        measured = self._arguments.measured
        if measured:
            self._need(measured, targets, "metrics")
            masks = self._event_masks(x, outputs)
            taken = as_keras_takes(measured, targets, outputs, weights, masks)
            self._compile_metrics.update_state(*taken)
        ranking = self._arguments.ranking
        ranked = [name for name in heads if name in targets]
        for name in ranked:
            scores = self._served(name, outputs[name])
            ranking.update(name, targets[name], scores, weights.get(name))
        # In training there is nothing to rank.
        logs = self._plain_result()
        return {**logs, **ranking.result()} if ranked else logs

    def get_metrics_result(self):
        # Keras asks at the end of an epoch or evaluation.
        ranks = self._arguments.ranking.result() if self._evaluates else {}
        logs = {**self._plain_result(), **ranks, **self._output_losses.of_nothing()}
        # Later versions of Keras make numbers of what is returned here, 3.12 does not.
        return as_numbers(logs)

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
        return {**logs, **self._output_losses.result()}

    def _served(self, name, scores):
        """Scores of an output as they are ranked when serving."""
        # What was seen are items: ids of other columns are others' ids.
        if not self._excludes_seen or self.heads[name].target is not None:
            return scores
        return hide_items(scores, _test.get()[1])

    def _need(self, names, targets, what):
        missing = sorted(set(names) - set(targets))
        if missing:
            raise ValueError(
                f"The outputs {missing} have {what}, but the data has no targets of "
                f"theirs; it has {sorted(targets)}. Make the loader with "
                f"targets={missing}."
            )

    def _need_targets_of_heads(self, targets):
        missing = sorted(set(self.heads) - set(targets))
        if missing:
            columns = sorted(set(self._columns.values()))
            more = f" and next_columns={columns}" if len(columns) > 1 else ""
            raise ValueError(
                f"There is no target to evaluate {missing} on: make the loader with "
                f"target='last'{more}."
            )

    def _refuse_targets_of_heads(self, targets):
        given = sorted(set(self.heads) & set(targets))
        if given:
            raise ValueError(
                f"fit was given targets of {given}, but next-item outputs take theirs "
                "from the scheme: train on whole sessions, without these targets."
            )

    def _weights(self, sample_weight):
        return weights_by_output(sample_weight, self._names, self._columns)

    def _targets(self, y):
        return targets_by_output(y, self._names, self._columns)

    @property
    def _columns(self):
        """Dict of next-item output to the name of the column that it predicts."""
        columns = {name: head.target for name, head in self.heads.items()}
        features = self._find_features()
        if features is None:
            return columns
        item = features.schema.item_id
        return {name: column or item for name, column in columns.items()}
