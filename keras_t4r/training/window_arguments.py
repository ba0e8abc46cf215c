"""Arguments of `fit_windows`, checked before a file is opened."""

from collections.abc import Mapping

from keras_t4r.models.checks import run_arguments


def check_baselines(baselines):
    """Raises where it is no dict of name to what learns windows and predicts."""
    if baselines is None:
        return
    if not isinstance(baselines, Mapping):
        raise TypeError(
            f"baselines is of type {type(baselines).__name__}; it should be a dict of "
            "name to baseline, as of standard_baselines(schema)."
        )
    for name, baseline in baselines.items():
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


def window_list(windows):
    """The names of windows as a list; one text is none."""
    if isinstance(windows, str) or not hasattr(windows, "__iter__"):
        raise TypeError(f"windows is {windows!r}; it should be a list of names.")
    return list(windows)


def callback_list(callbacks):
    """As of `run_arguments`; `fit_windows` takes a function of them, too."""
    more = ", or a function that makes them for a window"
    return run_arguments.callback_list(callbacks, more)
