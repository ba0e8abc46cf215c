import json
import shutil
from pathlib import Path

import numpy as np

from keras_t4r.files import new_folder, remove_unfinished


class Checkpoint:
    """Everything a run needs to go on as if it had never stopped.

    That is each variable of the model (weights, and the states of its random
    generators), of the optimizer and of nothing else, as arrays, and a JSON
    state. A checkpoint is one folder that appears whole or not at all; the
    one before is removed after.

    Args:
        folder: path. Where the checkpoints go.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def save(self, model, state):
        """Writes a checkpoint; `state` is anything that JSON holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self._existing()
        number = self._number(before[-1]) + 1 if before else 0
        remove_unfinished(self.folder)
        arrays = {f"{i:05d}": keras_array(v) for i, v in enumerate(_variables(model))}
        with new_folder(self.folder / f"checkpoint-{number:06d}") as folder:
            np.savez(folder / "variables.npz", **arrays)
            (folder / "state.json").write_text(json.dumps(state))
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
        with np.load(path / "variables.npz", allow_pickle=False) as arrays:
            values = [arrays[name] for name in sorted(arrays.files)]
        variables = _variables(model)
        shapes = [tuple(v.shape) for v in variables]
        if shapes != [v.shape for v in values]:
            raise ValueError(
                f"The checkpoint {path} is of another model or optimizer: it holds "
                f"{len(values)} arrays, this one has {len(shapes)} variables, or their "
                "shapes differ. Use another checkpoint folder."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return json.loads((path / "state.json").read_text())

    def _existing(self):
        return sorted(self.folder.glob("checkpoint-*"), key=self._number)

    @staticmethod
    def _number(path):
        return int(path.name.rpartition("-")[2])


def keras_array(variable):
    """A variable's value; bfloat16, which NumPy's format lacks, as float32."""
    value = np.asarray(variable)
    return value.astype("float32") if value.dtype.name == "bfloat16" else value


def _variables(model):
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    metrics = {id(v) for m in model.metrics for v in m.variables}
    own = [v for v in model.variables if id(v) not in metrics]
    return own + list(model.optimizer.variables)
