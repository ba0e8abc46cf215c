"""Arguments of `fit_windows`, checked before a file is opened."""

from collections.abc import Mapping
from itertools import pairwise

from keras_t4r.arguments import ordered
from keras_t4r.files import PLAIN, is_number, is_plain
from keras_t4r.models.checks import run_arguments
from keras_t4r.models.session_model import SessionModel
from keras_t4r.training.baselines.baseline import Baseline
from keras_t4r.training.window_report import MODEL, NETWORK, is_of_model, window_name


def check_model(model):
    """Raises where it is no model that `fit_windows` can fit and rank by."""
    if not isinstance(model, SessionModel):
        raise TypeError(
            f"model is of type {type(model).__name__}; it should be a SessionModel."
        )
    if model.compiled:
        model.need_optimizer()


def check_baselines(baselines):
    """Raises where it is no dict of name to what learns windows and predicts, or where
    one has learned some: a run that goes on teaches new ones from the start, too."""
    if baselines is None:
        return
    if not isinstance(baselines, Mapping):
        raise TypeError(
            f"baselines is of type {type(baselines).__name__}; it should be a dict of "
            "name to baseline, as of standard_baselines(schema)."
        )
    names = {}
    for name, baseline in baselines.items():
        _check_name(name)
        if isinstance(baseline, type):
            raise TypeError(
                f"The baseline {name!r} is a class: make one, {baseline.__name__}"
                "(schema)."
            )
        if not (hasattr(baseline, "update") and hasattr(baseline, "predict")):
            raise TypeError(
                f"The baseline {name!r} is of type {type(baseline).__name__}; it "
                "should be an object with update and predict."
            )
        learned = baseline.windows if isinstance(baseline, Baseline) else 0
        if learned > 0:
            raise ValueError(
                f"The baseline {name!r} has learned {learned} window(s) already; if "
                "they are of this run, it would be evaluated on what it knows: make a "
                "new one, as by standard_baselines(schema)."
            )
        other = names.setdefault(id(baseline), name)
        if other != name:
            raise ValueError(
                f"The baselines {other!r} and {name!r} are one object, which would "
                "learn each window twice: make one for each name."
            )


def _check_name(name):
    if not isinstance(name, str):
        raise TypeError(f"The name of a baseline is {name!r}; it should be text.")
    if name == MODEL or name == NETWORK or is_of_model(name):
        raise ValueError(
            f"A baseline is named {name!r}, as the report names the model, or a part "
            "of it: name it otherwise."
        )


def window_list(windows):
    """The names of windows, which are those of folders, as a list of texts."""
    names = [window_name(window) for window in ordered("windows", windows, "names")]
    for name in names:
        if not is_plain(name):
            raise ValueError(
                f"A window's name is {name!r}; it should be the plain name of a folder "
                f"({PLAIN})."
            )
    return names


def check_windows(names):
    """Raises where a window stands twice, or numbers are not in their order."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"Window {name} stands twice in windows={names}: it would be "
                "evaluated on after it was fit on."
            )
    if all(map(is_number, names)):
        for now, after in pairwise(names):
            if int(after) <= int(now):
                raise ValueError(
                    f"Window {after} comes after window {now} in windows={names}, and "
                    "its number is no higher: name windows in order of time, for the "
                    "future is not to be learned before the past is evaluated on."
                )


def file_name(argument, name):
    """The name of the windows' files, without the ending, as text."""
    if not isinstance(name, str):
        raise TypeError(f"{argument} is {name!r}; it should be text.")
    if not name:
        raise ValueError(f"{argument} is empty text; it should be a file's name.")
    return str(name)


def callback_list(callbacks):
    """As of `run_arguments`; `fit_windows` takes a function of them, too."""
    more = ", or a function that makes them for a window"
    return run_arguments.callback_list(callbacks, more)
