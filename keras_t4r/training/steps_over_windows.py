import math
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np
import pyarrow.compute as pc
from keras import ops

from keras_t4r.files.parquet import read_parquet
from keras_t4r.layers.heads.copy_mechanism import CopyMechanism
from keras_t4r.layers.memory.transition_memory import TransitionMemory
from keras_t4r.models.checks.divergence import DivergedError
from keras_t4r.models.graph import find_layers
from keras_t4r.training.checkpoint import variables_of
from keras_t4r.training.copy_fit import CopyTuner
from keras_t4r.training.memory_strength import STRENGTHS, MemoryTuner
from keras_t4r.training.window_report import MODEL, NETWORK

# How much the sessions of a window weigh beside those of the next.
_KEPT = 0.5
# One session in so many is held back of the first window, and with fewer sessions
# nothing is decided.
_HELD_BACK, _ENOUGH = 10, 100


class StepsOverWindows:
    """Tunes the steps after the head of a model that is fit window by window.

    They are its copy mechanism, then its memory. A mechanism is fit to each window,
    from where it was (see `tune_copy`). For a memory's strength a window may hold a few
    hundred sessions, whose best strength is chance. So no window decides alone: with
    `v(w, s)` the metric at strength `s` on the `n(w)` sessions of window `w`, the
    strength of window `t` is the one of the highest

    `sum for w = 1..t of 0.5 ** (t - w) * n(w) * v(w, s)`.

    A window is ranked before the model learns it. The first cannot be: each tenth
    session is held back, the model is fit on the rest, ranks that tenth, and is set
    back to where it was. (Not the last tenth: files may be in any order, that of the
    sessions' lengths too.) While there are fewer than 100 sessions to go by, the
    strength stays.

    Args:
        model: compiled `SessionModel`.
        memory: `MemoryTuner` of the model; `None`: it has no memory.
        copy: `CopyTuner` of the model; `None`: it has no copy mechanism.

    Attributes:
        sums: list of a strength and its sum, for each strength; and of `None` and the
            sum without `v`. Whoever goes on with a run that was stopped sets it.
            `None` without a memory.
    """

    def __init__(self, model, memory=None, copy=None):
        self._model = model
        self._memory, self._copy = memory, copy
        self.sums = None
        if memory is not None:
            # All windows have the same strengths, the one that the model came with too.
            grid = dict.fromkeys([self._strength(), *map(float, STRENGTHS)])
            self.sums = [[strength, 0.0] for strength in [None, *grid]]

    @classmethod
    def of(cls, model):
        """That of a model; `None` where it has no such step.

        Raises:
            ValueError: it has several memories, or several copy mechanisms.
        """
        found = [find_layers(model, kind) for kind in (TransitionMemory, CopyMechanism)]
        for layers in found:
            if len(layers) > 1:
                kind = type(layers[0]).__name__
                raise ValueError(
                    f"The model has {len(layers)} layers {kind}, and fit_windows can "
                    "tune one: fit the windows one by one, and tune each with "
                    "tune_memory or tune_copy."
                )
        if not any(found):
            return None
        memories, copies = found
        return cls(
            model,
            MemoryTuner(model) if memories else None,
            CopyTuner(model) if copies else None,
        )

    @property
    def memory(self):
        """The memory, or `None`."""
        return None if self._memory is None else self._memory.memory

    def without(self):
        """Dict of what is left out to a context in which the model answers so."""
        memory = self._memory and self._memory.memory.set_aside
        copy = self._copy and self._copy.copy.set_aside
        found = {}
        if memory:
            found[f"{MODEL}, no memory"] = memory
        if copy:
            found[f"{MODEL}, no copying"] = copy
        if memory and copy:
            found[NETWORK] = partial(_both, memory, copy)
        return found

    def learn(self, loader):
        """The memory learns a window."""
        if self._memory is not None:
            self.memory.update_state(loader)

    def _strength(self):
        return float(ops.convert_to_numpy(self.memory.strength))

    def _values(self):
        """The values of the variables that are tuned."""
        return [np.array(ops.convert_to_numpy(v)) for v in self._variables()]

    def _variables(self):
        memory = [] if self._memory is None else [self.memory.strength]
        return memory + ([] if self._copy is None else self._copy.copy.variables)

    def tune_first(self, path, load, metric, *, epochs, batch_size, seed):
        """Tunes the steps for the first window.

        Args:
            path: path. The window's sessions.
            load: what makes loaders, as `_Loaders` of `fit_windows`.
            metric: ranking metric.
            epochs, batch_size, seed: what the window is fit with.
        """
        sessions = read_parquet(path)
        rankable = pc.greater_equal(pc.list_value_length(sessions[load.item_id]), 2)
        rankable = np.nonzero(rankable.to_numpy(zero_copy_only=False))[0]
        held = rankable[_HELD_BACK - 1 :: _HELD_BACK]
        if len(held) < _ENOUGH:
            return
        rest = sessions.take(np.delete(np.arange(len(sessions)), held))
        test = sessions.take(held)
        variables = variables_of(self._model)
        before = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
        tuned = self._values()
        try:
            self.learn(load.to_fit(rest, 1024))
            loader = load.to_fit(rest, batch_size, seed=seed)
            self._model.fit(loader, epochs=epochs, verbose=0, shuffle=False)
            self.tune(load.to_evaluate(test), metric)
            tuned = self._values()
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            for variable, value in zip(self._variables(), tuned, strict=True):
                variable.assign(value)

    def tune(self, sessions, metric):
        """Tunes the steps for a later window.

        Args:
            sessions: `KerasSequenceLoader` with `target="last"`. The window's, which
                neither network nor memory has learned.
            metric: ranking metric.
        """
        # By scores that are NaN nothing is chosen; the report says what they are.
        with suppress(DivergedError):
            self._tune(sessions, metric)

    def _tune(self, sessions, metric):
        if self._copy is not None:
            self._copy.tune(sessions)
        if self._memory is None:
            return
        now, count = self._strength(), sessions.num_sessions
        grid = [strength for strength, _ in self.sums[1:]]
        found = {None: 1.0, **self._memory.tune(sessions, grid, metric=metric).values}
        self.sums = [[s, _KEPT * v + count * found[s]] for s, v in self.sums]
        sums = dict(map(tuple, self.sums))
        if sums.pop(None) >= _ENOUGH:
            # Of equals the present one is kept.
            now = max([now, *sums], key=lambda s: sums.get(s, -math.inf))
        self.memory.strength.assign(now)


@contextmanager
def _both(one, other):
    with one(), other():
        yield
