"""The metrics of a model's next-item outputs."""

from dataclasses import dataclass

from keras import ops
from keras.src.trainers.compile_utils import MetricsList

from keras_t4r.metrics.ranking_metric import RankingMetric
from keras_t4r.metrics.ranks import target_ranks


class Ranking:
    """Metrics of next-item outputs: kept apart, since they rank only in evaluation.

    Args:
        metrics: dict of output name to list of metrics, which count every session
            alike.
        weighted_metrics: the same, for metrics that count sample weights.
        with_names: bool. Whether the logs name the output too, as Keras does where
            there are several: `next_item_ndcg_20`.

    Attributes:
        by_output: dict of output name to dict of the name in the logs to metric. Names
            are Keras's: a second metric of a name is `weighted_ndcg_20` where it counts
            weights, else it has a number.
        by_log: the same metrics, in one dict.
    """

    def __init__(self, metrics, weighted_metrics, with_names):
        self.metrics = metrics
        self.weighted_metrics = weighted_metrics
        self.by_output = {
            name: _by_log(
                metrics.get(name, []),
                weighted_metrics.get(name, []),
                f"{name}_" if with_names else "",
            )
            for name in {**metrics, **weighted_metrics}
        }
        self.by_log = {}
        for found in self.by_output.values():
            self.by_log.update(found)
        self.directions = _Directions(self.by_log)

    def update(self, name, targets, scores, sample_weight):
        """Updates the metrics of an output, from its scores `(batch, items)`."""
        plain = self.metrics.get(name, [])
        weighted = self.weighted_metrics.get(name, [])
        if not (plain or weighted):
            return
        ranks = target_ranks(targets, scores)
        for metrics, weight in ((plain, None), (weighted, sample_weight)):
            for metric in metrics:
                if isinstance(metric, RankingMetric):
                    metric.update_ranks(ranks, targets, weight)
                else:
                    # Keras's count what is not finite as a miss of the whole row.
                    finite = ops.maximum(scores, -1e30)
                    metric.update_state(targets, finite, sample_weight=weight)

    def result(self):
        """Dict of the name in the logs to the metric's value."""
        return {log: metric.result() for log, metric in self.by_log.items()}


def _by_log(plain, weighted, prefix):
    found = {}
    for metric in (*plain, *weighted):
        log = f"{prefix}{metric.name}"
        if log in found and not any(metric is m for m in plain):
            log = f"{prefix}weighted_{metric.name}"
        number, first = 1, log
        while log in found:
            log, number = f"{first}_{number}", number + 1
        found[log] = metric
    return found


@dataclass
class _Direction:
    name: str
    _direction: str


class _Directions(MetricsList):
    """Tells callbacks in auto mode which way a metric is better; it has no state.

    Keras's callbacks look for a metric's direction in lists of this class only.
    """

    def __init__(self, by_log):
        known = {
            log: getattr(metric, "_direction", None) for log, metric in by_log.items()
        }
        super().__init__([_Direction(*pair) for pair in known.items() if pair[1]])

    @property
    def variables(self):
        return []

    def reset_state(self):
        pass

    def result(self):
        return {}
