"""What a mask hides is no value, and a tensor's values are taken, on every way in."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import keras_t4r as t4r
from keras_t4r.arrays import as_array
from keras_t4r.models.answers.sessions import RaggedSessions
from keras_t4r.models.checks.input_checks import check_inputs
from keras_t4r.models.steps.step_data import targets_by_output, weights_by_output
from keras_t4r.retrieval import ExactIndex
from keras_t4r.training.baselines import Popularity

ITEM = t4r.ColumnSchema(
    "item", tags=("item_id",), domain=t4r.Domain(2, 4), value_count=(1, 5)
)
PRICE = t4r.ColumnSchema("price", "float32", ("continuous",), None, (1, 5))
IMAGE = t4r.ColumnSchema("image", "float32", ("embedding",), None, (1, 5), (2, 2))
VOCABULARY = t4r.Vocabulary(["a", "b", "c"], name="item")
SCHEMA = t4r.Schema((ITEM, PRICE), vocabularies={"item": VOCABULARY})
ITEMS = t4r.Schema((ITEM,), vocabularies={"item": VOCABULARY})
WITH_IMAGES = t4r.Schema((ITEM, IMAGE))
IDS, NUMBERS = np.array([[2, 3, 4]]), np.array([[0.5, 0.25, 0.125]])
TABLE = np.ones((5, 2), "float32")


def hidden(values):
    """The values, the second of them masked."""
    mask = np.zeros(np.shape(values), bool)
    mask.reshape(-1)[1] = True
    return np.ma.array(values, mask=mask)


def shown(values):
    return np.ma.array(values, mask=False)


def load(items=IDS, prices=NUMBERS, as_made=dict):
    sessions = as_made({"item": list(items), "price": list(prices)})
    return t4r.KerasSequenceLoader(sessions, SCHEMA, 1)[0]


def of_objects(columns):
    made = {}
    for name, (row,) in columns.items():
        made[name] = np.empty(1, object)
        made[name][0] = row
    return made


def vectors(ids, rows):
    return t4r.vectors_by_id({"id": ids, "vector": rows}, SCHEMA, "item")


def index(ids=(2, 3, 4), rows=TABLE[:3]):
    return ExactIndex().build(ids, rows)


def popularity():
    return Popularity(ITEMS).update(pa.table({"item": [[2, 3]]}))


# How a value comes in → (it, as a function of how arrays are made, and the array).
WAYS = {
    "loader, ids": lambda make: load(items=[make(IDS[0])]),
    "loader, numbers": lambda make: load(prices=[make(NUMBERS[0])]),
    "loader, objects": lambda make: load(items=[make(IDS[0])], as_made=of_objects),
    "loader, pandas": lambda make: load(items=[make(IDS[0])], as_made=pd.DataFrame),
    "loader, vectors": lambda make: t4r.KerasSequenceLoader(
        {"item": [[2]]}, WITH_IMAGES, 1, vectors={"image": ("item", make(TABLE))}
    ),
    "recommend, lists": lambda make: RaggedSessions(
        {"item": [make(["a", "b"])]}, ITEMS, {"item": VOCABULARY}
    ),
    "recommend, pandas": lambda make: RaggedSessions(
        pd.DataFrame({"item": [make(["a", "b"])]}), ITEMS, {"item": VOCABULARY}
    ),
    "vectors_by_id": lambda make: vectors(["a", "b", "c"], make(TABLE[:3])),
    "vectors_by_id, lists": lambda make: vectors(
        ["a", "b", "c"], [make(row) for row in TABLE[:3]]
    ),
    "PretrainedEmbedding": lambda make: t4r.PretrainedEmbedding(make(TABLE)),
    "ItemAttribute": lambda make: t4r.ItemAttribute(make([0, 1, 2])),
    "index, ids": lambda make: index(ids=make([2, 3, 4])),
    "index, vectors": lambda make: index(rows=make(TABLE[:3])),
    "index, queries": lambda make: index().search(make([[1.0, 2.0]]), 1),
    "index, excluded": lambda make: index().search([[1.0, 2.0]], 1, make([2, 3])),
    "memory": lambda make: t4r.TransitionMemory(SCHEMA).adapt(make(IDS)),
    "memory, lists": lambda make: t4r.TransitionMemory(SCHEMA).adapt([make(IDS[0])]),
    "baseline": lambda make: popularity().predict(make(IDS)),
    "decode": lambda make: VOCABULARY.decode(make(IDS)),
    "fit, ids": lambda make: check_inputs({"item": make(IDS)}, ITEMS),
    "fit, numbers": lambda make: check_inputs(
        {"item": IDS, "price": make(NUMBERS)}, SCHEMA
    ),
    "fit, targets": lambda make: targets_by_output(make([2, 3]), ["out"], {}),
    "fit, weights": lambda make: weights_by_output(make([1.0, 2.0]), ["out"], {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_masked_value_is_none(way):
    with pytest.raises((TypeError, ValueError), match=r"a masked value|null"):
        WAYS[way](hidden)


@pytest.mark.parametrize("way", WAYS)
def test_a_mask_that_hides_nothing_says_nothing(way):
    WAYS[way](shown)


def test_a_vector_of_a_masked_id_is_passed_over():
    with pytest.warns(UserWarning, match="2 of the 3 ids"):
        found = vectors(hidden(["a", "b"]), TABLE[:2])
    assert found.any(axis=1).tolist() == [False, False, True, False, False]


def test_a_tensors_values_are_taken():
    torch = pytest.importorskip("torch")
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        values = torch.ones((3, 2), dtype=kind, requires_grad=True)
        found = as_array("it", values)
        assert found.dtype.kind == "f" and found.tolist() == [[1.0, 1.0]] * 3
    t4r.PretrainedEmbedding(values)
    clicks = {"s": [1, 1, 1], "t": [1, 2, 3], "i": [7, 8, 9], "x": values[:, 0]}
    etl = t4r.SessionETL("s", "t", "i", time_unit="s", continuous=["x"])
    assert etl.fit_transform(clicks).num_rows == 1
    with pytest.raises(TypeError, match=r"^it is a tensor that makes no array"):
        as_array("it", values.detach().to_sparse())


def test_lists_of_several_lengths_make_no_array():
    with pytest.raises(ValueError, match=r"^vectors makes no array .* of one length"):
        t4r.PretrainedEmbedding([[1.0], [1.0, 2.0]])
