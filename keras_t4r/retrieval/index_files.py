"""An index on disk: arrays in NumPy's format, and what tells that they are whole."""

import json
from pathlib import Path

import numpy as np

from keras_t4r.files import Known, as_path, one_of_names
from keras_t4r.files.digest import file_digest
from keras_t4r.files.known import does_not_say

ABOUT = "index.json"
_FORMAT = 1


def write_index(folder, kind, config, arrays):
    """Writes an index into an empty folder.

    Args:
        folder: path.
        kind: string. Name of its class.
        config: dict. Arguments of the class.
        arrays: dict of name to array.
    """
    folder, digests = Path(folder), {}
    for name, array in arrays.items():
        file = folder / f"{name}.npy"
        np.save(file, array, allow_pickle=False)
        digests[name] = file_digest(file)
    about = {"format": _FORMAT, "kind": kind, "config": config, "sha256": digests}
    (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")


def read_index(path, kind=None):
    """The config and the arrays of an index.

    Args:
        path: path.
        kind: string. What its class must be.

    Raises:
        FileNotFoundError: there is no index at the path.
        ValueError: it is of another kind, or damaged.
    """
    about, path = _about(path), as_path(path, "an index")
    if kind not in (None, about["kind"]):
        raise ValueError(
            f"{path} holds an index of kind {about['kind']}, not {kind}: read it by "
            "load_index."
        )
    arrays = {}
    for name, digest in about["sha256"].items():
        file = path / f"{name}.npy"
        try:
            if file_digest(file) != digest:
                raise ValueError("It was changed.")
            arrays[name] = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{file} is missing or damaged: build the index again, or copy all of "
                "its folder."
            ) from error
    return about["config"], arrays


def load_index(path):
    """The index that was saved at a path, of whichever kind.

    Raises:
        FileNotFoundError: there is no index at the path.
        ImportError: its kind needs a library that is not installed.
        ValueError: it is damaged.
    """
    # The kinds are made of this file.
    from keras_t4r.retrieval.exact_index import ExactIndex
    from keras_t4r.retrieval.ivf_index import IVFIndex

    kinds = {cls.__name__: cls for cls in (ExactIndex, IVFIndex)}
    kind = _about(path)["kind"]
    if kind not in kinds:
        raise ValueError(
            f"{path} holds an index of kind {kind!r}, which this version does not "
            f"know; it knows {sorted(kinds)}."
        )
    return kinds[kind].load(path)


def index_files(folder):
    """A regular expression of the files of an index, which is in a folder.

    Raises:
        FileExistsError: the file that names them is damaged.
    """
    try:
        names = _about(folder)["sha256"]
    except ValueError as error:
        raise does_not_say(folder, ABOUT) from error
    return one_of_names([ABOUT, *(f"{name}.npy" for name in names)])


INDEX = Known(ABOUT, index_files)


def _about(path):
    file = as_path(path, "an index") / ABOUT
    if not file.is_file():
        raise FileNotFoundError(f"There is no index at {path}: it holds no {ABOUT}.")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        ok = about["format"] == _FORMAT and isinstance(about["kind"], str)
        ok = ok and isinstance(about["config"], dict)
        # Names are those of files in the folder, and of no others.
        ok = ok and all(name.isidentifier() for name in about["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError):
        ok = False
    if not ok:
        raise ValueError(
            f"{file} is damaged, or of another version: build the index again."
        )
    return about
