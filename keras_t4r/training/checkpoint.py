import json
import shutil
from pathlib import Path

import numpy as np

from keras_t4r.backend import build_optimizer
from keras_t4r.files import new_folder, remove_unfinished

# The key that stands for an array in the JSON of a state.
_HELD = "held array"


class Checkpoint:
    """Everything a run needs to go on as if it had never stopped.

    That is each variable of the model (weights, and the states of its random
    generators) and of the optimizer, and a state: what JSON holds, and NumPy
    arrays within it. A checkpoint is one folder that appears whole or not at all;
    the one before is removed after.

    Args:
        folder: path. Where the checkpoints go.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def save(self, model, state):
        """Writes a checkpoint.

        Args:
            model: compiled `keras.Model`.
            state: dicts with strings as keys, lists, and what JSON holds; and arrays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self._existing()
        number = self._number(before[-1]) + 1 if before else 0
        remove_unfinished(self.folder)
        arrays = {f"{i:05d}": keras_array(v) for i, v in enumerate(variables_of(model))}
        held = []
        state = json.dumps(_without_arrays(state, held))
        kept = {f"{i:05d}": array for i, array in enumerate(held)}
        with new_folder(self.folder / f"checkpoint-{number:06d}") as folder:
            np.savez(folder / "variables.npz", **arrays)
            np.savez(folder / "state.npz", **kept)
            (folder / "state.json").write_text(state)
        for path in before:
            shutil.rmtree(path)

    def restore(self, model):
        """Reads the newest checkpoint into the model.

        Returns:
            The state that was saved, or `None` where there is no checkpoint.

        Raises:
            ValueError: the checkpoint is of another model or optimizer.
        """
        existing = self._existing()
        if not existing:
            return None
        path = existing[-1]
        values = _arrays(path / "variables.npz")
        variables = variables_of(model)
        shapes = [tuple(v.shape) for v in variables]
        if shapes != [v.shape for v in values]:
            raise ValueError(
                f"The checkpoint {path} is of another model or optimizer: it holds "
                f"{len(values)} arrays, this one has {len(shapes)} variables, or their "
                "shapes differ. Use another checkpoint folder."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        state = json.loads((path / "state.json").read_text())
        return _with_arrays(state, _arrays(path / "state.npz"))

    def _existing(self):
        return sorted(self.folder.glob("checkpoint-*"), key=self._number)

    @staticmethod
    def _number(path):
        return int(path.name.rpartition("-")[2])


def keras_array(variable):
    """A variable's value; bfloat16, which NumPy's format lacks, as float32."""
    value = np.asarray(variable)
    return value.astype("float32") if value.dtype.name == "bfloat16" else value


def _arrays(path):
    with np.load(path, allow_pickle=False) as arrays:
        return [arrays[name] for name in sorted(arrays.files)]


def _without_arrays(state, held):
    """The state with the place in `held` in place of each array, which goes there."""
    if isinstance(state, np.ndarray):
        held.append(state)
        return {_HELD: len(held) - 1}
    if isinstance(state, dict):
        return {key: _without_arrays(value, held) for key, value in state.items()}
    if isinstance(state, list):
        return [_without_arrays(value, held) for value in state]
    return state


def _with_arrays(state, held):
    if isinstance(state, dict):
        if _HELD in state:
            return held[state[_HELD]]
        return {key: _with_arrays(value, held) for key, value in state.items()}
    if isinstance(state, list):
        return [_with_arrays(value, held) for value in state]
    return state


def variables_of(model):
    """All variables of a model and its optimizer; not those of its metrics."""
    build_optimizer(model)
    metrics = {id(v) for m in model.metrics for v in m.variables}
    own = [v for v in model.variables if id(v) not in metrics]
    return own + list(model.optimizer.variables)
