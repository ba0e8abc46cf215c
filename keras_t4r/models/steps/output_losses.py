"""The losses of single outputs, for the logs."""

import warnings

import keras
from keras import ops

from keras_t4r.backend import as_numbers, replicas


class OutputLosses:
    """Means of the losses of single outputs, where several have one: `bought_loss`.

    They are of next-item outputs, and of an only other one: where there are more
    others, Keras keeps theirs. As Keras's, they are not yet weighted by `loss_weights`.
    And the numbers of targets of next-item outputs: a loss of none is not 0, the best
    that there is, but NaN.

    Args:
        heads: collection of strings. The next-item outputs.
        loss_weights: dict of the other outputs that have a loss to its weight.
    """

    def __init__(self, heads, loss_weights):
        # An output that weighs nothing has no part in the sum to tell its loss by.
        lone = {k: v for k, v in loss_weights.items() if v and len(loss_weights) == 1}
        logged = [*heads, *lone] if len(heads) + len(loss_weights) > 1 else []
        self._means = {n: keras.metrics.Mean(name=f"{n}_loss") for n in logged}
        # Means, for these know of how many steps: a step of one's own counts none.
        self._counts = {n: keras.metrics.Mean(name=f"{n}_targets") for n in heads}
        self._lone = lone if logged else {}
        self._of_heads_alone = not loss_weights

    @property
    def metrics(self):
        """The means, which the logs have."""
        return list(self._means.values())

    @property
    def counts(self):
        """The numbers of targets a step, which the logs do not have."""
        return list(self._counts.values())

    def update(self, losses, counts, sessions):
        """Updates with the losses of a step.

        Args:
            losses: dict of output name to scalar tensor.
            counts: dict of next-item output to its number of targets, where it is
                known: scalar tensor.
            sessions: int, or scalar tensor. How many sessions they are means over.
        """
        for name, targets in self._counts.items():
            # A loss that is unknown here is not one of nothing.
            targets.update_state(counts.get(name, 1.0))
        for name, loss in losses.items():
            if name in self._means:
                count = ops.cast(sessions, "float32")
                self._means[name].update_state(loss, sample_weight=count)

    def of_others(self, loss, added):
        """Dict of the only other output to its loss.

        Args:
            loss: scalar tensor. Its loss, weighed, and those that layers added.
            added: list of tensors. The latter.
        """
        if not self._lone:
            return {}
        ((name, weight),) = self._lone.items()
        rest = loss * replicas() - sum(ops.sum(one) for one in added)
        return {name: rest / weight}

    def result(self):
        """Dict of the name in the logs to the mean."""
        return {metric.name: metric.result() for metric in self._means.values()}

    def of_nothing(self):
        """The losses of no target at all, at the end of an epoch or evaluation.

        Where a step is not the model's own, as in a subclass with another `train_step`,
        nothing is known of targets, and nothing said.

        Warns where there is one: a session of one event has no target, and an unknown
        item is none.

        Returns:
            A dict of the name in the logs to NaN.
        """
        counts = as_numbers({n: x.total for n, x in self._counts.items()})
        steps = as_numbers({n: x.count for n, x in self._counts.items()})
        empty = [n for n, count in counts.items() if count == 0 and steps[n] > 0]
        if not empty:
            return {}
        warnings.warn(
            f"The sessions hold no target of {empty}, so in the whole epoch or "
            "evaluation nothing was learned of it, or measured, and its loss is NaN: a "
            "session needs two events, and items that the vocabulary does not know "
            "are no targets.",
            stacklevel=2,
        )
        lost = [f"{name}_loss" for name in empty if name in self._means]
        if self._of_heads_alone and len(empty) == len(counts):
            lost.append("loss")
        return dict.fromkeys(lost, float("nan"))
