import hashlib
import json
import shutil
import zipfile
import zlib

import numpy as np

from keras_t4r.backend import build_optimizer
from keras_t4r.files import as_path, hold, is_number, new_folder
from keras_t4r.training.description import first_difference

_FORMAT = "keras_t4r.Checkpoint/4"
# The key that stands for an array in the JSON of a state.
_HELD = "held array"
_DAMAGED = (
    OSError,
    EOFError,
    LookupError,
    NotImplementedError,  # a zip of a version that there is not
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class Checkpoint:
    """Everything a run needs to go on as if it had never stopped.

    That is each variable of the model (weights, and the states of its random
    generators) and of the optimizer, and a state: what JSON holds, and NumPy
    arrays within it. A checkpoint is one folder that appears whole or not at all;
    the one before is removed after.

    Args:
        folder: path. Where the checkpoints go.
        run: dict of string to what JSON holds. What makes the run the one that it is: a
            checkpoint of another run is refused.

    Raises:
        NotADirectoryError: the folder, or one above it, is a file.
        TypeError: the folder is no path, or `run` holds what JSON does not.
        ValueError: the folder is empty text.
    """

    def __init__(self, folder, run=None):
        self.folder = checkpoint_folder(folder)
        self.run = json.loads(json.dumps(run or {}, default=_by_value))

    def held(self):
        """A context in which no other run may use the folder.

        Raises:
            BlockingIOError: another run uses it.
        """
        return hold(
            self.folder,
            f"Another run uses the checkpoint folder {self.folder} now: wait for it, "
            "or take another folder.",
        )

    def save(self, model, state):
        """Writes a checkpoint.

        Args:
            model: compiled `keras.Model`.
            state: dicts with strings as keys, lists, and what JSON holds; and arrays.
        """
        before = self._existing()
        number = self._number(before[-1]) + 1 if before else 0
        arrays = {f"{i:05d}": keras_array(v) for i, v in enumerate(variables_of(model))}
        held = []
        state = json.dumps(_without_arrays(state, held))
        kept = {f"{i:05d}": array for i, array in enumerate(held)}
        content = {
            "format": _FORMAT,
            "run": self.run,
            "digest": _digest(state),
            "state": state,
        }
        with new_folder(self.folder / f"checkpoint-{number:06d}") as folder:
            np.savez(folder / "variables.npz", **arrays)
            np.savez(folder / "state.npz", **kept)
            (folder / "state.json").write_text(json.dumps(content))
        for path in before:
            shutil.rmtree(path)

    def restore(self, model):
        """Reads the newest checkpoint into the model.

        Returns:
            The state that was saved, or `None` where there is no checkpoint.

        Raises:
            ValueError: the checkpoint is of another run, model or optimizer; or it is
                damaged. The model is then as it was.
        """
        existing = self._existing()
        if not existing:
            return None
        path = existing[-1]
        try:
            content = json.loads((path / "state.json").read_text())
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            if content["digest"] != _digest(content["state"]):
                raise ValueError("its state is not what was written")
            run = content["run"]
            values = _arrays(path / "variables.npz")
            kept = _arrays(path / "state.npz")
            state = _with_arrays(json.loads(content["state"]), kept)
        except _DAMAGED as error:
            raise ValueError(
                f"The checkpoint {path} is damaged, or no checkpoint of this version "
                f"({type(error).__name__}: {error}): remove it to start anew, or use "
                "another checkpoint folder."
            ) from error
        self._check_run(run, path)
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
        return state

    def _check_run(self, run, path):
        found = first_difference(run, self.run)
        if found is not None:
            name, was, now = found
            name = name or "run"
            raise ValueError(
                f"The checkpoint {path} is of another run: its {name} was {was}, and "
                f"is {now} now. Take up the run as it was, or use another checkpoint "
                "folder."
            )

    def _existing(self):
        found = self.folder.glob("checkpoint-*")
        found = [path for path in found if is_number(path.name[11:])]
        return sorted(found, key=self._number)

    @staticmethod
    def _number(path):
        return int(path.name.rpartition("-")[2])


def checkpoint_folder(path):
    """The path of a folder of checkpoints, which need not be there yet; see
    `Checkpoint`."""
    folder = as_path(path, "checkpoints")
    there = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if there.is_file():
        raise NotADirectoryError(
            f"checkpoint is {str(folder)!r}, but {there} is a file: name a folder."
        )
    return folder


def _by_value(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"What makes the run of a checkpoint holds {value!r}; it should hold numbers, "
        "texts, and lists and dicts of them."
    )


def keras_array(variable):
    """A variable's value; bfloat16, which NumPy's format lacks, as float32."""
    value = np.asarray(variable)
    return value.astype("float32") if value.dtype.name == "bfloat16" else value


def variables_of(model):
    """All variables of a model and its optimizer; not those of its metrics."""
    build_optimizer(model)
    metrics = {id(v) for m in model.metrics for v in m.variables}
    own = [v for v in model.variables if id(v) not in metrics]
    return own + list(model.optimizer.variables)


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _arrays(path):
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        found = [arrays[name] for name in sorted(arrays.files)]
    if not all(isinstance(array, np.ndarray) for array in found):
        raise ValueError(f"{path.name} holds what is no array")
    return found


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
