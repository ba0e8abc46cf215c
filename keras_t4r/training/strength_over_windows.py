import math

import numpy as np
import pyarrow.compute as pc
from keras import ops

from keras_t4r.files.parquet import read_parquet
from keras_t4r.training.checkpoint import variables_of
from keras_t4r.training.memory_strength import STRENGTHS

# How much the sessions of a window weigh beside those of the next.
_KEPT = 0.5
# One session in so many is held back of the first window, and with fewer sessions
# nothing is decided.
_HELD_BACK, _ENOUGH = 10, 100


class StrengthOverWindows:
    """Tunes the memory of a model that is fit on one window after another.

    A window may hold a few hundred sessions, whose best strength is chance. So no
    window decides alone: with `v(w, s)` the metric at strength `s` on the `n(w)`
    sessions of window `w`, the strength of window `t` is the one of the highest

    `sum for w = 1..t of 0.5 ** (t - w) * n(w) * v(w, s)`.

    A window is ranked before the model learns it. The first cannot be: each tenth
    session is held back, the model is fit on the rest, ranks that tenth, and is set
    back to where it was. (Not the last tenth: files may be in any order, that of the
    sessions' lengths too.) While there are fewer than 100 sessions to go by, the
    strength stays.

    Args:
        model: compiled `SessionModel`.
        tuner: `MemoryTuner` of the model.

    Attributes:
        sums: list of a strength and its sum, for each strength; and of `None` and the
            sum without `v`. Whoever goes on with a run that was stopped sets it.
    """

    def __init__(self, model, tuner):
        self._model = model
        self._tuner = tuner
        # All windows have the same strengths, the one that the model came with too.
        grid = dict.fromkeys([self._strength(), *map(float, STRENGTHS)])
        self.sums = [[strength, 0.0] for strength in [None, *grid]]

    @property
    def memory(self):
        return self._tuner.memory

    def _strength(self):
        return float(ops.convert_to_numpy(self.memory.strength))

    def tune_first(self, path, load, metric, *, epochs, batch_size, seed):
        """Gives the memory its strength for the first window.

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
        now = self._strength()
        try:
            self.memory.update_state(load.to_fit(rest, 1024))
            loader = load.to_fit(rest, batch_size, seed=seed)
            self._model.fit(loader, epochs=epochs, verbose=0, shuffle=False)
            self.tune(load.to_evaluate(test), metric)
            now = self._strength()
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            self.memory.strength.assign(now)

    def tune(self, sessions, metric):
        """Gives the memory its strength for a later window.

        Args:
            sessions: `KerasSequenceLoader` with `target="last"`. The window's, which
                neither network nor memory has learned.
            metric: ranking metric.
        """
        now, count = self._strength(), sessions.num_sessions
        grid = [strength for strength, _ in self.sums[1:]]
        found = {None: 1.0, **self._tuner.tune(sessions, grid, metric=metric).values}
        self.sums = [[s, _KEPT * v + count * found[s]] for s, v in self.sums]
        sums = dict(map(tuple, self.sums))
        if sums.pop(None) >= _ENOUGH:
            # Of equals the present one is kept.
            now = max([now, *sums], key=lambda s: sums.get(s, -math.inf))
        self.memory.strength.assign(now)
