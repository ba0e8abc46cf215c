"""The losses of single outputs, for the logs."""

import keras
from keras import ops

from keras_t4r.backend import replicas


class OutputLosses:
    """Means of the losses of single outputs, where several have one: `bought_loss`.

    They are of next-item outputs, and of an only other one: where there are more
    others, Keras keeps theirs. As Keras's, they are not yet weighted by `loss_weights`.

    Args:
        heads: collection of strings. The next-item outputs.
        loss_weights: dict of the other outputs that have a loss to its weight.
    """

    def __init__(self, heads, loss_weights):
        # An output that weighs nothing has no part in the sum to tell its loss by.
        lone = {k: v for k, v in loss_weights.items() if v and len(loss_weights) == 1}
        logged = [*heads, *lone] if len(heads) + len(loss_weights) > 1 else []
        self.metrics = {n: keras.metrics.Mean(name=f"{n}_loss") for n in logged}
        self._lone = lone if logged else {}

    def update(self, losses, sessions):
        """Updates with the losses of a step.

        Args:
            losses: dict of output name to scalar tensor.
            sessions: int, or scalar tensor. How many sessions they are means over.
        """
        for name, loss in losses.items():
            if name in self.metrics:
                count = ops.cast(sessions, "float32")
                self.metrics[name].update_state(loss, sample_weight=count)

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
        return {metric.name: metric.result() for metric in self.metrics.values()}
