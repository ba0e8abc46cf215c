"""Truth values that a model is asked with are True and False."""

import numpy as np
import pytest

import keras_t4r as t4r

pytestmark = pytest.mark.backends("torch")
WRONG = ["False", "no", 2, 0, 1, float("nan")]


def test_what_only_counts_as_true_or_false_is_refused(build):
    model = build.model("clm", "gpt2")
    model.compile("adam")
    before = model.get_weights()
    sessions, batch = build.sessions(4), build.batch(4)
    held_out = t4r.KerasSequenceLoader(sessions, build.schema, 4, target="last")
    asks = {
        "probe": (lambda v: model.compile("adam", probe=v),),
        "shuffle": (lambda v: model.fit(batch, shuffle=v, verbose=0),),
        "exclude_seen": (
            lambda v: model.evaluate(held_out, exclude_seen=v, verbose=0),
            lambda v: model.recommend(sessions, exclude_seen=v),
            lambda v: model.top_k(batch, exclude_seen=v),
            lambda v: model.answers(batch, exclude_seen=v),
        ),
        "encoded": (lambda v: model.recommend(sessions, encoded=v),),
    }
    for name, functions in asks.items():
        for ask in functions:
            for value in WRONG if name in ("shuffle", "encoded") else [*WRONG, None]:
                with pytest.raises(TypeError, match=f"^{name} is .* be True or False"):
                    ask(value)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_numpys_and_what_keras_takes_beside_them_are_taken(build):
    model = build.model("clm", "gpt2")
    model.compile("adam", probe=np.False_)
    sessions = build.sessions(4)
    answer = model.recommend(sessions, k=3, exclude_seen=np.True_, encoded=np.True_)
    for row, items in zip(answer["item_id"], sessions["item_id"], strict=True):
        assert not set(row) & set(items)
    for shuffle in (None, "batch", np.False_):
        model.fit(build.batch(4), shuffle=shuffle, verbose=0)
