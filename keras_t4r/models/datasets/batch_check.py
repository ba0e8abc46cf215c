"""What is asked of arrays, asked of the batches of a dataset."""

from dataclasses import dataclass

from keras_t4r.models.checks.input_checks import check_inputs, sessions_of
from keras_t4r.models.checks.target_checks import check_targets, check_weights
from keras_t4r.models.steps.step_data import (
    targets_by_output,
    unpack,
    weights_by_output,
)
from keras_t4r.schema import Schema


@dataclass(frozen=True)
class BatchCheck:
    """Raises where a batch is none that a model may be given.

    It holds no model, so that a worker's process may be sent it.

    Args:
        schema: `Schema` of the model's inputs, or `None` where it is not known.
        names: list of strings. The outputs.
        columns: dict of next-item output to the name of its column.
        rows: dict of next-item output to the number of ids that it scores.
        axes: dict of output to the number of its axes, as of `check_weights`.
        reads: string. What the model reads of a batch: `"x"` to predict, `"xw"` to
            train, `"xyw"` to evaluate.
    """

    schema: Schema | None
    names: list
    columns: dict
    rows: dict
    axes: dict
    reads: str

    def look_at(self, batch):
        """Raises where a batch is wrong.

        Args:
            batch: `x`, or a tuple of `x`, `y` and sample weights, as Keras takes them.

        Raises:
            TypeError, ValueError: see `check_inputs`, `check_targets`,
                `check_weights`.
        """
        x, y, weights = unpack(batch)
        if self.schema is not None:
            check_inputs(x, self.schema)
        if self.reads == "x":
            return
        targets = targets_by_output(y, self.names, self.columns)
        if "y" in self.reads:
            check_targets(targets, self.rows)
        weights = weights_by_output(weights, self.names, self.columns)
        check_weights(weights, targets, self.axes, sessions_of(x, self.schema))
