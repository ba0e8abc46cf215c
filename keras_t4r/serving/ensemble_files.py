"""The files of an ensemble's models in a Triton repository, version by version."""

import os
import re
import shutil

from keras_t4r.data.etl.state import STATE_FILE, state_files
from keras_t4r.files import Known, is_number, within
from keras_t4r.retrieval.index_files import ABOUT, index_files
from keras_t4r.serving.saved_model import SAVED_MODEL_FILES

CONFIG = "config.pbtxt"
PROGRAM, SCHEMA = "model.py", "schema.pbtxt"
WORKFLOW, SAVED_MODEL, INDEX = "workflow", "model.savedmodel", "index"


def _files(folder):
    """A regular expression of the files of a model of whichever part."""
    found = [re.escape(CONFIG)]
    for version in versions(folder):
        place = folder / version
        inside = [
            *map(re.escape, (PROGRAM, SCHEMA)),
            # Triton's Python leaves it beside the program.
            r"__pycache__/model\.[^/]*\.pyc",
            within(re.escape(SAVED_MODEL), SAVED_MODEL_FILES),
        ]
        if (place / WORKFLOW / STATE_FILE).is_file():
            inside.append(within(WORKFLOW, state_files(place / WORKFLOW)))
        if (place / INDEX / ABOUT).is_file():
            inside.append(within(INDEX, index_files(place / INDEX)))
        found.append(within(version, "|".join(inside)))
    return "|".join(found)


MODEL = Known(CONFIG, _files)


def versions(folder):
    """The names of a model's versions, in their order."""
    found = [p.name for p in folder.iterdir() if is_number(p.name) and p.is_dir()]
    return sorted(found, key=int)


def check_config(folder, new):
    """Refuses to keep versions under a configuration that is not theirs.

    Args:
        folder: path. A model in a repository, which need not be there.
        new: path. The one that takes its place, with its one version.

    Raises:
        FileExistsError: the model has another version, and another configuration.
    """
    others = _others(folder, new)
    if others and (folder / CONFIG).read_bytes() != (new / CONFIG).read_bytes():
        raise FileExistsError(
            f"{folder} holds version {others[0]} with another configuration than "
            f"version {versions(new)[0]} has, and {CONFIG} is one for all versions: "
            "export under another name, or remove the model yourself. Nothing was "
            "changed."
        )


def keep_versions(folder, new):
    """Puts the other versions of a model beside the one that takes its place.

    Args:
        folder, new: as of `check_config`.
    """
    for version in _others(folder, new):
        place = new / version
        shutil.copytree(folder / version, place, copy_function=_link_or_copy)


def _others(folder, new):
    """The versions of a model that the new one does not have."""
    # One without a configuration holds no file.
    if not (folder / CONFIG).is_file():
        return []
    return [version for version in versions(folder) if not (new / version).exists()]


def _link_or_copy(source, target):
    """A second name for a file, or, where the file system has none, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
