import numpy as np
import pyarrow.parquet as pq
from keras import ops

from keras_t4r.training.checkpoint import variables_of
from keras_t4r.training.memory_strength import STRENGTHS

# How much the sessions of a window weigh beside those of the next.
_KEPT = 0.5
# Of the first window every so-manieth session is held back, where that makes enough.
_HELD_BACK, _ENOUGH = 10, 100


class StrengthOverWindows:
    """Tunes the memory of a model that is fit on one window after another.

    A window may hold a few hundred sessions, whose best strength is chance. So no
    window decides alone: with `v(w, s)` the metric at strength `s` on the `n(w)`
    sessions of window `w`, the strength of window `t` is the one of the highest

    `sum for w = 1..t of 0.5 ** (t - w) * n(w) * v(w, s)`.

    Before the first window there is nothing to rank. A tenth of it is held back, the
    model is fit on the rest, tuned on that tenth, and set back to where it was. Where a
    tenth is less than 100 sessions, the strength stays as it is.

    Args:
        tuner: `MemoryTuner`.

    Attributes:
        sums: list of pairs of a strength and its sum. Whoever goes on with a run that
            was stopped sets it.
    """

    def __init__(self, tuner):
        self._tuner = tuner
        # All windows have the same strengths, the one that the model came with too.
        first = float(ops.convert_to_numpy(self.memory.strength))
        grid = dict.fromkeys([first, *map(float, STRENGTHS)])
        self.sums = [[strength, 0.0] for strength in grid]

    @property
    def _grid(self):
        return [strength for strength, _ in self.sums]

    @property
    def memory(self):
        return self._tuner.memory

    def tune_first(self, model, path, load, metric, *, epochs, batch_size, seed):
        """Gives the memory its strength for the first window.

        Args:
            model: the model that is tuned.
            path: path. The window's sessions.
            load: what makes loaders: `to_fit(sessions, batch_size, …)` and
                `to_evaluate(sessions)`.
            metric: ranking metric.
            epochs, batch_size, seed: what the window is then fit with.
        """
        sessions = pq.read_table(path)
        held_back = np.arange(len(sessions)) % _HELD_BACK == _HELD_BACK - 1
        if held_back.sum() < _ENOUGH:
            return
        rest = sessions.filter(~held_back)
        variables = variables_of(model)
        before = [np.array(variable) for variable in variables]
        self.memory.update_state(load.to_fit(rest, 1024))
        loader = load.to_fit(rest, batch_size, seed=seed)
        model.fit(loader, epochs=epochs, verbose=0, shuffle=False)
        test = load.to_evaluate(sessions.filter(held_back))
        found = self._tuner.tune(test, self._grid, metric=metric)
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        self.memory.strength.assign(found.strength)

    def tune(self, sessions, metric):
        """Gives the memory its strength for a later window.

        Args:
            sessions: `KerasSequenceLoader` with `target="last"`. The window's, which
                neither network nor memory has learned.
            metric: ranking metric.
        """
        found = self._tuner.tune(sessions, self._grid, metric=metric)
        count = sessions.num_sessions
        self.sums = [[s, _KEPT * v + count * found.values[s]] for s, v in self.sums]
        sums = dict(map(tuple, self.sums))
        # The present strength comes first, and the first of equals is kept.
        self.memory.strength.assign(max(found.values, key=sums.get))
