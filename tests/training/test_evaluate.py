"""evaluate_scorer counts every session that the loader gives."""

import keras
import numpy as np
import pyarrow as pa
import pytest

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.metrics import NDCG, Recall
from keras_t4r.schema import ColumnSchema, Domain, Schema
from keras_t4r.training.baselines import standard_baselines
from keras_t4r.training.evaluate import evaluate_scorer

SCHEMA = Schema(
    (
        ColumnSchema(
            "item_id", "int64", ("item_id", "categorical"), Domain(2, 9), (1, 5)
        ),
        ColumnSchema("category", "int64", ("categorical",), Domain(1, 4), (1, 5)),
        ColumnSchema("importance", "float32"),
    )
)
SESSIONS = {
    "item_id": [[2, 3], [4, 5, 1], [3, 2, 6], [7, 1], [8]],
    "category": [[1, 1], [2, 2, 3], [4, 1, 2], [3, 4], [4]],
    "importance": [1.0, 2.0, 0.5, 0.0, 3.0],
}


class Favourites:
    """Gives padding and the unknown id the highest scores."""

    def predict(self, x):
        return np.tile(-np.arange(10, dtype="float32"), (len(x["item_id"]), 1))


def loader(**arguments):
    return KerasSequenceLoader(SESSIONS, SCHEMA, 3, target="last", **arguments)


@pytest.mark.parametrize("scorer", ["favourites", *standard_baselines(SCHEMA)])
def test_unknown_targets_are_misses_at_every_k(scorer):
    if scorer == "favourites":
        chosen = Favourites()
    else:
        chosen = standard_baselines(SCHEMA)[scorer]
        chosen.update(pa.table({"item_id": SESSIONS["item_id"]}))
    everything = [Recall(1000), NDCG(1000)]
    logs = evaluate_scorer(chosen, loader(), everything)
    known = evaluate_scorer(chosen, loader(unknown_targets="drop"), everything)
    assert logs["recall_1000"] <= 0.5
    for name, value in logs.items():
        assert value == pytest.approx(known[name] / 2)


def test_weights_count_and_other_targets_do_not_disturb():
    plain = evaluate_scorer(Favourites(), loader(), [Recall(5)])
    more = loader(columns=["item_id"], targets=["category"])
    assert evaluate_scorer(Favourites(), more, [Recall(5)]) == plain
    # Of the targets 3, 1, 6 and 1, only the first stands among five.
    assert plain["recall_5"] == pytest.approx(1 / 4)
    weighted = loader(sample_weight="importance")
    logs = evaluate_scorer(Favourites(), weighted, [Recall(5)])
    assert logs["recall_5"] == pytest.approx(1.0 / 3.5)


def test_empty_sessions_that_fill_a_batch_do_not_count():
    logs = evaluate_scorer(Favourites(), loader(batch_multiple=4), [Recall(5)])
    assert logs["recall_5"] == pytest.approx(1 / 4)


def test_a_loader_without_a_target_is_refused():
    training = KerasSequenceLoader(SESSIONS, SCHEMA, 3)
    with pytest.raises(ValueError, match="gives no item that came next"):
        evaluate_scorer(Favourites(), training, [Recall(5)])


@pytest.mark.backends
def test_a_keras_model_counts_them_the_same_way():
    x = keras.Input((None,), dtype="int32", name="item_id")
    embedded = keras.layers.Embedding(10, 4)(x)
    scores = keras.layers.Dense(10)(keras.ops.max(embedded, axis=1))
    special = np.where(np.arange(10) < 2, -np.inf, 0.0).astype("float32")
    model = keras.Model({"item_id": x}, scores + special)
    model.compile(loss=lambda y, p: keras.ops.sum(p[:, 2:], -1), metrics=[Recall(4)])
    test = loader(columns=["item_id"])
    by_keras = model.evaluate(test, verbose=0, return_dict=True)["recall_4"]

    class Scorer:
        def predict(self, x):
            return model.predict_on_batch(x)

    assert evaluate_scorer(Scorer(), test, [Recall(4)])["recall_4"] == by_keras
