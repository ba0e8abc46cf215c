"""Arguments of fit_windows are looked at before the model and the files."""

import pytest

from keras_t4r.training import fit_windows
from keras_t4r.training.baselines import Markov

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
]


@pytest.mark.parametrize(("arguments", "why"), BAD_ARGUMENTS)
def test_a_bad_argument_gets_one_sentence(arguments, why):
    with pytest.raises(TypeError, match=why):
        fit_windows(None, "nowhere", **arguments)
