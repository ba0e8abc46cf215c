import math
from typing import NamedTuple

import keras
from keras import ops

from keras_t4r.arguments import ordered
from keras_t4r.layers.memory.transition_memory import TransitionMemory, as_strength
from keras_t4r.metrics.ndcg import NDCG
from keras_t4r.metrics.ranking_metric import RankingMetric
from keras_t4r.models.checks.divergence import DivergedError
from keras_t4r.models.graph import find_layers
from keras_t4r.training.split_model import split_at
from keras_t4r.training.tuning_data import (
    check_layer,
    check_sessions,
    item_target,
    model_inputs,
)

#: The strength at which a memory says nothing.
NO_MEMORY = float("inf")
STRENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 300, NO_MEMORY)


class TunedMemory(NamedTuple):
    """What `tune_memory` found.

    Attributes:
        strength: float. The strength that ranks best; infinite: no memory.
        metric: string. Name of the metric that was compared.
        values: dict of strength to the metric's value.
    """

    strength: float
    metric: str
    values: dict

    def __str__(self):
        lines = [f"{'strength':>10}  {self.metric}"]
        for strength, value in sorted(self.values.items()):
            name = "no memory" if strength == NO_MEMORY else f"{strength:g}"
            chosen = "  chosen" if strength == self.strength else ""
            lines.append(f"{name:>10}  {value:.4f}{chosen}")
        return "\n".join(lines)


def tune_memory(
    model, sessions, grid=STRENGTHS, *, metric=None, memory=None, target=None
):
    """Gives a model's memory the strength that ranks sessions best.

    How much the network's word should weigh depends on the size of the log and on
    how well the network was fit: from 1 on a small log to hundreds on a large one. The
    network scores each batch once; the memory is then mixed in at each strength.

    Args:
        model: functional `keras.Model` with a `TransitionMemory`; a `SessionModel`.
        sessions: `KerasSequenceLoader` with `target="last"`. Sessions that neither
            network nor memory has learned: on sessions that it counted, a memory is
            always right.
        grid: list of strengths to try besides the present one; `float("inf")` is no
            memory.
        metric: ranking metric. Defaults to the model's first, else to `NDCG(20)`.
        memory: the `TransitionMemory`, where the model has several.
        target: string. Which of the loader's targets the memory's scores rank, where
            it gives a dict of them. Defaults to the items.

    Returns:
        A `TunedMemory`. The memory has the strength; of equal ones the present.

    Raises:
        TypeError: the sessions are no loader, or the grid, the metric, the memory or
            the target is none.
        ValueError: the model has no memory or several, the grid is empty, a strength
            is below 1e-6, less of the metric is better, the loader has no target,
            its ids were encoded by another vocabulary than the model's, or the model
            has diverged: the metric is NaN at every strength.

    Example:

    ```python
    model.fit(days_1_to_6, epochs=5)
    model.memory.adapt(days_1_to_6)
    day_7 = KerasSequenceLoader("sessions/7", schema, 512, target="last")
    print(tune_memory(model, day_7))
    ```
    """
    tuner = MemoryTuner(model, memory)
    return tuner.tune(sessions, grid, metric=metric, target=target)


class MemoryTuner:
    """Tunes the memory of one model again and again, as `tune_memory` does once.

    Args:
        model, memory: see `tune_memory`.
    """

    def __init__(self, model, memory=None):
        self.memory = _only_memory(model) if memory is None else memory
        check_layer("memory", self.memory, TransitionMemory)
        self._model = model
        self._network, self._answer = split_at(model, self.memory)

    def tune(self, sessions, grid=STRENGTHS, *, metric=None, target=None):
        """See `tune_memory`."""
        check_sessions(self._model, sessions, target)
        strength = self.memory.strength
        now = float(ops.convert_to_numpy(strength))
        # The first of equals is kept: without a reason the strength stays.
        grid = list(dict.fromkeys([now, *_strengths(grid)]))
        if metric is None:
            metric = next(
                (m for m in self._model.metrics if isinstance(m, RankingMetric)),
                NDCG(20),
            )
        if not isinstance(metric, keras.metrics.Metric):
            raise TypeError(
                f"metric is {metric!r}; it should be a ranking metric, as NDCG(20)."
            )
        if getattr(metric, "_direction", None) == "down":
            raise ValueError(
                f"Of the metric {metric.name!r} less is better, but the strength of "
                "the most is taken: give a ranking metric, as NDCG(20)."
            )
        found = {s: type(metric).from_config(metric.get_config()) for s in grid}
        try:
            for i in range(len(sessions)):
                x, y, weight = keras.utils.unpack_x_y_sample_weight(sessions[i])
                y = item_target(y, sessions, target)
                inputs = model_inputs(self._model, x)
                scores = self._network.predict_on_batch(inputs)
                for value in grid:
                    strength.assign(value)
                    mixed = self._answer.predict_on_batch([scores, *inputs])
                    found[value].update_state(y, mixed, weight)
        finally:
            strength.assign(now)
        values = {s: float(ops.convert_to_numpy(m.result())) for s, m in found.items()}
        numbers = {s: v for s, v in values.items() if not math.isnan(v)}
        if not numbers:
            raise DivergedError
        best = max(numbers, key=numbers.get)
        strength.assign(best)
        return TunedMemory(best, metric.name, values)


def _strengths(grid):
    grid = ordered("grid", grid, "strengths")
    found = [as_strength("A strength of the grid", value) for value in grid]
    if not found:
        raise ValueError("grid is empty: give strengths to try, as [1, 10, 100].")
    return found


def _only_memory(model):
    memories = find_layers(model, TransitionMemory)
    if not memories:
        raise ValueError("The model has no TransitionMemory whose strength to tune.")
    if len(memories) > 1:
        names = ", ".join(repr(m.name) for m in memories)
        raise ValueError(
            f"The model has {len(memories)} memories, {names}: say which one to tune, "
            "memory=…."
        )
    return memories[0]
