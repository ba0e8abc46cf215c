"""What `compile` is told, output by output: next-item heads apart from the others."""

from dataclasses import dataclass

import keras

from keras_t4r.arguments import number
from keras_t4r.models.steps.ranking import Ranking


@dataclass(frozen=True)
class CompileArguments:
    """The arguments of `compile` that speak of outputs, sorted by their kind.

    Args:
        given: dict. The arguments as they were given, for saving.
        losses, loss_weights, metrics, weighted_metrics: dicts by output name, of
            outputs that are no next-item scores; as Keras takes them.
        weights_of_heads: dict of next-item output to the weight of its loss, of all.
        ranking: `Ranking`. The metrics of next-item outputs.
    """

    given: dict
    losses: dict
    loss_weights: dict
    metrics: dict
    weighted_metrics: dict
    weights_of_heads: dict
    ranking: Ranking

    @classmethod
    def sort(cls, names, heads, **given):
        """Sorts and checks what `compile` was given.

        Args:
            names: list of strings. The model's outputs.
            heads: dict of next-item output to `NextItemHead`.
            **given: `loss`, `loss_weights`, `metrics` and `weighted_metrics`.

        Raises:
            TypeError, ValueError: see `SessionModel.compile`.
        """
        sorted_ = {
            what: split_by_output(value, what, names, heads)
            for what, value in given.items()
        }
        for what in ("metrics", "weighted_metrics"):
            for metrics in sorted_[what]:
                check_metric_names(metrics, what)
        losses_of_heads, losses = sorted_["loss"]
        refuse_losses_of_heads(losses_of_heads)
        weights_of_heads, weights = map(checked_weights, sorted_["loss_weights"])
        owners = {}
        for name, head in heads.items():
            other = owners.setdefault(id(head), name)
            if weights_of_heads.get(name, 1.0) != weights_of_heads.get(other, 1.0):
                raise ValueError(
                    f"The outputs {other!r} and {name!r} are of one head, which has "
                    "one loss: give them the same weight in loss_weights."
                )
        lost = sorted(set(weights) - set(losses))
        if lost:
            raise ValueError(f"loss_weights names {lost}, which have no loss.")
        ranking = {
            what: metrics_of_heads(sorted_[what][0], what)
            for what in ("metrics", "weighted_metrics")
        }
        return cls(
            given=given,
            losses=losses,
            loss_weights={name: weights.get(name, 1.0) for name in losses},
            metrics=sorted_["metrics"][1],
            weighted_metrics=sorted_["weighted_metrics"][1],
            weights_of_heads={name: weights_of_heads.get(name, 1.0) for name in heads},
            ranking=Ranking(**ranking, with_names=len(names) > 1),
        )

    def metrics_for_keras(self, of_events):
        """`(metrics, weighted_metrics)` as Keras takes them.

        Some of Keras's metrics do not look at masks. Those of outputs of events count
        weights, which are 0 at padding, the ones given as `metrics` too.

        Args:
            of_events: collection of the outputs with a value an event.
        """
        weighted = dict(self.weighted_metrics)
        for name in set(of_events) & set(self.metrics):
            more = weighted.get(name, [])
            weighted[name] = [*_as_list(self.metrics[name]), *_as_list(more)]
        plain = {k: v for k, v in self.metrics.items() if k not in of_events}
        return plain or None, weighted or None

    @property
    def measured(self):
        """Names of the outputs with metrics of Keras's kind."""
        return {*self.metrics, *self.weighted_metrics}


def split_by_output(argument, what, names, heads):
    """A `compile` argument as two dicts of output name to value.

    Args:
        argument: as of `keras.Model.compile`: a value for the only output, a list in
            the order of the outputs, or a dict of output name to value.
        what: string. Name of the argument, for errors.
        names: list of strings. The outputs.
        heads: collection of strings. Those that are of next-item heads.

    Returns:
        The pair of the dict of next-item outputs and that of the others; entries that
        are `None` are left out.

    Raises:
        ValueError: a name is not that of an output, or it is not clear which output
            a value is meant for.
    """
    if argument is None:
        return {}, {}
    if isinstance(argument, dict):
        unknown = sorted(set(argument) - set(names))
        if unknown:
            raise ValueError(
                f"{what} has an entry for {unknown}, but the model's outputs are "
                f"{names}."
            )
        by_name = argument
    elif len(names) == 1:
        if what in ("loss", "loss_weights") and isinstance(argument, (list, tuple)):
            if len(argument) != 1:
                raise ValueError(
                    f"{what} is a list of {len(argument)}, but the model has one "
                    f"output, {names[0]!r}."
                )
            (argument,) = argument
        by_name = {names[0]: argument}
    elif isinstance(argument, (list, tuple)) and len(argument) == len(names):
        by_name = dict(zip(names, argument, strict=True))
    elif what == "loss" and len(set(names) - set(heads)) == 1:
        (only,) = set(names) - set(heads)
        by_name = {only: argument}
    else:
        raise ValueError(
            f"The model has the outputs {names}: say which of them {what} is meant "
            f"for, as {what}={{{names[-1]!r}: …}}."
        )
    by_name = {k: v for k, v in by_name.items() if v is not None}
    of_heads = {k: v for k, v in by_name.items() if k in heads}
    return of_heads, {k: v for k, v in by_name.items() if k not in heads}


def _as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def metrics_of_heads(metrics, what):
    """Dict of output name to list of metric objects, checked.

    Raises:
        ValueError: a metric is no object, so that it is not known how it ranks.
    """
    found = {}
    for name, given in metrics.items():
        given = _as_list(given)
        for metric in given:
            if not isinstance(metric, keras.metrics.Metric):
                raise ValueError(
                    f"{what} of the next-item output {name!r} has {metric!r}: give "
                    "objects that read scores of all items, such as "
                    "keras_t4r.metrics.NDCG(20)."
                )
        found[name] = given
    return found


def check_metric_names(metrics, what):
    """Raises where a metric has the name of the loss in the logs.

    Args:
        metrics: dict of output name to metrics.
        what: string. Name of the argument, for errors.

    Raises:
        ValueError: one has.
    """
    for metric in keras.tree.flatten(metrics):
        if isinstance(metric, keras.metrics.Metric) and metric.name == "loss":
            raise ValueError(
                f"{what} has a metric of the name 'loss', which the logs have for the "
                "loss: give it another name."
            )


def checked_weights(weights):
    """Loss weights by output as floats.

    Raises:
        TypeError: one is no number.
        ValueError: one is NaN or infinite.
    """
    return {
        name: number(f"The loss weight of {name!r}", weight)
        for name, weight in weights.items()
    }


def refuse_losses_of_heads(losses):
    """Raises `ValueError` for losses that were meant for next-item outputs."""
    for name, loss in losses.items():
        raise ValueError(
            f"The output {name!r} is of a NextItemHead, which trains on a loss of its "
            f"own: pass it there, NextItemHead(loss=…), not to compile (loss={loss!r})."
        )
