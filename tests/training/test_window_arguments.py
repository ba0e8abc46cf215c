"""Arguments of fit_windows are looked at before the model and the files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import keras_t4r as t4r
from keras_t4r.training import fit_windows
from keras_t4r.training.baselines import Markov
from keras_t4r.training.window_arguments import window_list

COUNT = Markov(item_column="i", cardinality=9)
LEARNED = Markov(item_column="i", cardinality=9).update(pa.table({"i": [[2, 3]]}))
BAD_ARGUMENTS = [
    (dict(schema="x"), "schema is 'x'; it should be a Schema"),
    (dict(windows="12"), "windows is '12'; it should be a list of names"),
    (dict(windows=1), "windows is 1; it should be a list of names"),
    (dict(callbacks=[5]), "5 among the callbacks is none"),
    (dict(callbacks="stop"), "'stop' among the callbacks is none"),
    (
        dict(baselines=[Markov(item_column="i", cardinality=9)]),
        "baselines is of type list; it should be a",
    ),
    (
        dict(baselines=Markov(item_column="i", cardinality=9)),
        "baselines is of type Markov; it should be a",
    ),
    (dict(baselines={"one": Markov}), "'one' is a class"),
    (dict(baselines={"one": 5}), "The baseline 'one' is of type int"),
    *(
        (dict(windows=windows), "^windows is .*; it should be a list of names")
        for windows in ({"1", "2"}, {"1": "2"}, np.array(7), b"12")
    ),
    *(
        (dict(windows=["1", window]), "^A window's name is .* should be")
        for window in ("", 1.5, True, None, Path("2"), ["3"], np.array([2, 3]))
    ),
    *(
        (dict([(name, value)]), f"^{name} is .*; it should be a whole number")
        for name in ("epochs", "batch_size", "max_length", "replay", "seed")
        for value in ("2", 2.5, True, np.array([2, 3]), Path("2"))
    ),
    *(
        (dict([(name, value)]), f"^{name} is {value}; it should be {least} or more")
        for name, value, least in (
            ("epochs", 0, 1),
            ("batch_size", 0, 1),
            ("max_length", 0, 1),
            ("max_length", -1, 1),
            ("replay", -1, 0),
            ("seed", -1, 0),
        )
    ),
    *(
        (dict([(name, value)]), f"^{name} is .*; it should be ")
        for name in ("train", "evaluate")
        for value in (Path("sessions"), 5, None)
    ),
    (dict(train=""), "^train is empty text"),
    *(
        (dict(baselines={name: COUNT}), "^The name of a baseline is .* be text")
        for name in (5, None, Path("a"))
    ),
    *(
        (dict(baselines={name: COUNT}), f"^A baseline is named {name!r}, as the report")
        for name in ("model", "model, no memory", "model, fast", "network alone")
    ),
    (dict(baselines={"a": COUNT, "b": COUNT}), "'a' and 'b' are one object"),
    (dict(baselines={"a": LEARNED}), "'a' has learned 1 window.* make a new one"),
    *(
        (dict(windows=["1", window]), "^A window's name is .* the plain name of a fold")
        for window in ("./1", "1/", "../1", "/log/1", ".", "..", "a\\b", ".hidden")
    ),
    (dict(checkpoint=""), "^The path of checkpoints is empty text"),
    (dict(checkpoint=True), "^The path of checkpoints is True"),
    (dict(checkpoint=__file__), "is a file: name a folder"),
    (dict(folder=None), "^The path of sessions by window is None"),
    (dict(), "^model is of type NoneType; it should be a SessionModel"),
]


@pytest.mark.parametrize(("arguments", "why"), BAD_ARGUMENTS)
def test_a_bad_argument_gets_one_sentence(arguments, why):
    with pytest.raises((TypeError, ValueError, NotADirectoryError), match=why):
        fit_windows(None, **{"folder": "nowhere", **arguments})


@pytest.mark.parametrize(
    "windows",
    [
        range(1, 4),
        (1, 2, 3),
        np.array([1, 2, 3]),
        [np.int64(1), np.int32(2), 3],
        np.array(["1", "2", "3"]),
    ],
)
def test_the_names_of_windows_are_taken_by_value(windows):
    found = window_list(windows)
    assert found == ["1", "2", "3"] and {type(name) for name in found} == {str}


def test_a_report_of_numpy_numbers_is_saved(tmp_path):
    report = t4r.WindowReport()
    report.add(np.int64(2), "model", {"ndcg_5": np.float32(0.5)})
    report.save(tmp_path / "report.json")
    assert t4r.WindowReport.load(tmp_path / "report.json").rows == report.rows
    # A name is one, however it is spelt; in files of earlier days, too.
    report.add("2", "count", {"ndcg_5": 0.1})
    again = t4r.WindowReport([*report.rows, {"window": 2, "model": "late"}])
    assert report.windows == again.windows == ["2"]
    with pytest.raises(TypeError, match="A window's name is PosixPath"):
        report.add(tmp_path, "model", {})


def test_a_report_names_no_metric_as_a_column():
    report = t4r.WindowReport()
    for name in ("window", "model"):
        with pytest.raises(ValueError, match=f"named '{name}', as a column"):
            report.add(1, "model", {name: 0.5})
    assert report.rows == []


def test_a_part_of_the_model_is_no_baseline():
    report = t4r.WindowReport()
    for name in ("model", "model, no memory", "network alone", "count"):
        report.add(2, name, {"ndcg_5": 0.1 if name == "count" else 0.9})
    assert report.best_baseline("ndcg_5") == "count"


def test_a_baseline_of_nan_is_not_the_best():
    report = t4r.WindowReport()
    report.add(2, "undefined", {"ndcg_5": np.nan})
    with pytest.raises(ValueError, match="no baseline"):
        report.best_baseline("ndcg_5")
    report.add(2, "count", {"ndcg_5": 0.1})
    assert report.best_baseline("ndcg_5") == "count"
