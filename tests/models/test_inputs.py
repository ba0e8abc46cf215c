"""Arrays that are no sessions of the schema are refused, by whatever way they come."""

from pathlib import Path

import keras
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import keras_t4r as t4r
from keras_t4r.models.checks.target_checks import check_weights
from keras_t4r.models.datasets.checked_data import checked

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def schema():
    item = t4r.ColumnSchema(
        "item",
        tags=("item_id", "categorical"),
        domain=t4r.Domain(2, 20),
        value_count=(1, 8),
    )
    age = t4r.ColumnSchema("age", "float32", ("continuous",), None, (1, 8))
    return t4r.Schema((item, age))


@pytest.fixture(scope="module")
def model(schema):
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=8)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item"])
    x = keras.layers.Dense(8)(x)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile("sgd", metrics=[t4r.metrics.NDCG(4)])
    return model


def batch(**columns):
    items = np.array([[5, 6, 7, 0], [3, 4, 0, 0]])
    return {"item": items, "age": np.zeros((2, 4), "float32"), **columns}


def good(model):
    return {n: v for n, v in {**batch(), **ids()}.items() if n in model.input}


WAYS = {
    "fit": lambda model, x: model.fit(x, verbose=0),
    "validate": lambda model, x: model.fit(
        good(model), validation_data=(x, np.array([3, 4])), verbose=0
    ),
    "evaluate": lambda model, x: model.evaluate(x, np.array([3, 4]), verbose=0),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
    "train_on_batch": lambda model, x: model.train_on_batch(x),
    "test_on_batch": lambda model, x: model.test_on_batch(x, np.array([3, 4])),
}

BAD = {
    "after padding": dict(item=np.array([[0, 5, 6, 7], [3, 4, 0, 0]])),
    "runs? from 0 to 20": dict(item=np.array([[5, 6, 21, 0], [3, 4, 0, 0]])),
    "id 8589934592": dict(item=np.array([[5, 2**33, 7, 0], [3, 4, 0, 0]])),
    "id -1": dict(item=np.array([[5, -1, 7, 0], [3, 4, 0, 0]])),
    "holds float64": dict(item=np.array([[5.5, 6, 7, 0], [3, 4, 0, 0]])),
    "is no number, or beyond 1e": dict(age=np.full((2, 4), 1e39)),
    "row 2 that is no number": dict(age=np.array([[0.0] * 4, [0, np.inf, 0, 0]])),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("why", BAD)
def test_bad_arrays_are_refused(model, way, why):
    before = [np.array(v) for v in model.get_weights()]
    with pytest.raises((ValueError, TypeError), match=why.replace("runs?", "run")):
        WAYS[way](model, batch(**BAD[why]))
    if way != "validate":
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("way", WAYS)
def test_good_ones_are_not(model, way):
    WAYS[way](model, batch())
    WAYS[way](model, batch(item=batch()["item"].astype("int32")))


@pytest.fixture(scope="module")
def with_others():
    """A model that reads other ids than items, of an event and of a session."""
    columns = (
        t4r.ColumnSchema("item", "int64", ("item_id",), t4r.Domain(2, 20), (1, 8)),
        t4r.ColumnSchema("kind", "int64", ("categorical",), t4r.Domain(1, 5), (1, 8)),
        t4r.ColumnSchema("odd", "int64", ("categorical",), t4r.Domain(0, 5), (1, 8)),
        t4r.ColumnSchema(
            "tags", "int64", ("categorical",), t4r.Domain(1, 5), (1, 8), (1, 2)
        ),
    )
    schema, country = (
        t4r.Schema(columns),
        t4r.ColumnSchema("country", "int64", ("categorical",), t4r.Domain(1, 5)),
    )
    inputs = t4r.Schema((*columns, country)).inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=8)(inputs)
    context = t4r.ContextFeatures(t4r.Schema((*columns, country)))(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item"])
    x = t4r.ContextFusion()(x, context)
    x = keras.layers.Dense(8)(x)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile("sgd")
    return model


def ids(**columns):
    kind = np.array([[1, 2, 3, 0], [1, 2, 0, 0]])
    return {
        "item": batch()["item"],
        "kind": kind,
        "odd": kind * 0,
        "tags": np.stack([kind, kind * 0], -1),
        "country": np.array([1, 2]),
        **columns,
    }


SAYS_NOTHING = {
    "kind": np.array([[1, 2, 3, 0], [0, 2, 0, 0]]),
    "tags": np.array(
        [[[1, 0], [2, 2], [1, 0], [0, 0]], [[0, 2], [2, 0]] + [[0, 0]] * 2]
    ),
    "country": np.array([1, 0]),
}


def test_id_0_of_another_column_says_nothing(with_others):
    for name, values in SAYS_NOTHING.items():
        for way in WAYS.values():
            way(with_others, ids(**{name: values}))


NO_INPUTS = {
    "are of type Table": pa.table({"item": [[5, 6]], "age": [[0.0, 1.0]]}),
    "are of type DataFrame": pl.DataFrame({"item": [[5, 6]], "age": [[0.0, 1.0]]}),
    "are of type str": "sessions/1",
    "are of type PosixPath": Path("sessions/1"),
    "are lists of values": [[5, 6]],
    r"hold no array in \['item'\]": batch(item=[[5, 6]]),
    "holds timedelta64": batch(item=np.zeros((2, 4), "timedelta64[s]")),
    "have no column 'age'": {"item": np.array([[5, 6]])},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("why", NO_INPUTS)
def test_what_is_no_dataset_is_told_what_is(model, way, why):
    with pytest.raises((ValueError, TypeError), match=why):
        WAYS[way](model, NO_INPUTS[why])


BAD_TARGETS = {
    r"holds id 99 in row 2; its ids run from 0 to 20": np.array([3, 99]),
    "holds id -5 in row 1": np.array([-5, 3]),
    "holds float64; it should hold whole ids": np.array([3.0, 5.5]),
    r"has shape \(2, 3\)": np.zeros((2, 3), int),
    "y is a list of 2, but the model's outputs are": [3, 4],
    "is of type list; it should be an array": {"item": [3, 4]},
}
EVALUATE = {
    "evaluate": lambda model, y: model.evaluate(batch(), y, verbose=0),
    "test_on_batch": lambda model, y: model.test_on_batch(batch(), y),
    "validate": lambda model, y: model.fit(
        batch(), validation_data=(batch(), y), verbose=0
    ),
}


@pytest.mark.parametrize("way", EVALUATE)
@pytest.mark.parametrize("why", BAD_TARGETS)
def test_bad_targets_are_refused(model, way, why):
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError), match=why):
        EVALUATE[way](model, BAD_TARGETS[why])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("way", EVALUATE)
def test_targets_come_in_either_shape(model, way):
    EVALUATE[way](model, np.array([[3], [4]]))
    EVALUATE[way](model, np.array([3, 4]))


BAD_WEIGHTS = [
    ([np.nan, 1.0], "row 1 that is below 0, no number"),
    ([1.0, np.inf], "row 2 that is below 0, no number"),
    ([-1.0, 1.0], "row 1 that is below 0"),
    (["a", "b"], "holds <U1; it should hold numbers"),
]


@pytest.mark.parametrize(("weights", "why"), BAD_WEIGHTS)
def test_bad_weights_are_refused(model, weights, why):
    before, y, bad = model.get_weights(), np.array([3, 4]), np.array(weights)
    for refused in (
        lambda: model.fit(batch(), sample_weight=bad, verbose=0),
        lambda: model.train_on_batch(batch(), sample_weight=bad),
        lambda: model.evaluate(batch(), y, sample_weight=bad, verbose=0),
        lambda: model.test_on_batch(batch(), y, sample_weight=bad),
        lambda: model.fit(batch(), validation_data=(batch(), y, bad), verbose=0),
    ):
        with pytest.raises((ValueError, TypeError), match=why):
            refused()
    with pytest.raises(ValueError, match="sample_weight is a list of 2, but the model"):
        model.fit(batch(), sample_weight=weights, verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_count_on_a_batch(model):
    before = model.get_weights()
    model.train_on_batch(batch(), sample_weight=np.zeros(2))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    model.train_on_batch(batch(), sample_weight=np.ones(2))
    moved = zip(before, model.get_weights(), strict=True)
    assert any((one != other).any() for one, other in moved)
    with pytest.raises(ValueError, match="class_weight has no meaning"):
        model.train_on_batch(batch(), class_weight={3: 2.0})
    with pytest.raises(ValueError, match="no target to evaluate"):
        model.test_on_batch(batch())


@pytest.mark.parametrize(
    ("sessions", "why"),
    [
        ({"item": [[5, 0, 6]], "age": [[0.0] * 3]}, "holds id 0"),
        ({"item": [[5, 2**33]], "age": [[0.0] * 2]}, "Column 'item'"),
        ({"item": [[5, None]], "age": [[0.0] * 2]}, "null or empty item"),
        ({"item": [[5]], "age": [[1e39]]}, "is no number, or beyond 1e"),
        ({"item": [[5]], "age": [[float("inf")]]}, "is no number, or beyond 1e"),
    ],
)
@pytest.mark.parametrize("make", [dict, pa.table])
def test_so_are_sessions_to_recommend_for(model, make, sessions, why):
    with pytest.raises((ValueError, TypeError), match=why):
        model.recommend(make(sessions), k=3)


@pytest.mark.parametrize(
    "arguments",
    [dict(k=True), dict(k=2.0), dict(k=0), dict(batch_size=-1), dict(batch_size=0)],
)
def test_counts_are_whole_numbers(model, arguments):
    with pytest.raises((ValueError, TypeError), match=r"k |batch_size"):
        model.recommend({"item": [[5]], "age": [[0.0]]}, **arguments)


@pytest.mark.parametrize("way", WAYS)
def test_ragged_and_sparse_tensors_are_no_arrays(model, way):
    tf = pytest.importorskip("tensorflow")
    for odd in (tf.ragged.constant([[5, 6], [3]]), tf.sparse.from_dense([[5, 6]] * 2)):
        with pytest.raises(TypeError, match=r"hold no array in \['item'\]; the model"):
            WAYS[way](model, batch(item=odd))


class Batches(keras.utils.PyDataset):
    def __init__(self, batches, **arguments):
        super().__init__(**arguments)
        self.batches, self.epochs = batches, []

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]

    def on_epoch_begin(self):
        self.epochs.append("begun")

    def on_epoch_end(self):
        self.epochs.append("ended")


def of_tensorflow(batches):
    tf = pytest.importorskip("tensorflow")
    parts = keras.tree.map_structure(lambda *values: np.stack(values), *batches)
    return tf.data.Dataset.from_tensor_slices(parts)


def of_torch(batches):
    loader = pytest.importorskip("torch.utils.data").DataLoader
    return loader(batches, batch_size=None)


DATASETS = {
    "PyDataset": Batches,
    "PyDataset with workers": lambda batches: Batches(batches, workers=2),
    "generator": lambda batches: (batch for batch in batches),
    "tf.data.Dataset": of_tensorflow,
    "DataLoader": of_torch,
}
# Keras looks at two batches of some datasets before it begins.
THIRD_IS_WRONG = [batch(), batch(), batch(item=np.array([[5, 6, 21, 0], [3, 4, 0, 0]]))]
Y, LATE_Y = np.array([3, 4]), [np.array([3, 4]), np.array([3, 4]), np.array([3, 21])]


@pytest.mark.parametrize("kind", DATASETS)
def test_batches_of_datasets_are_looked_at(model, kind):
    make = DATASETS[kind]
    fed = {
        "x": [(x,) for x in THIRD_IS_WRONG],
        "y": [(x, Y) for x in THIRD_IS_WRONG],
        "target": [(batch(), y) for y in LATE_Y],
        "weight": [(batch(), Y, np.array([1.0, w])) for w in (1, 1, -1)],
        "good": [(batch(), Y)] * 3,
    }
    for run in (
        lambda x, y: model.fit(x, verbose=0),
        lambda x, y: model.fit(batch(), validation_data=y, verbose=0),
        lambda x, y: model.evaluate(y, verbose=0),
        lambda x, y: model.predict(x, verbose=0),
    ):
        for order in (1, -1):
            x, y = (make(fed[name][::order]) for name in "xy")
            with pytest.raises(ValueError, match="'item' of the inputs holds id 21"):
                run(x, y)
    with pytest.raises(ValueError, match=r"y of .* holds id 21 in row 2"):
        model.evaluate(make(fed["target"]), verbose=0)
    with pytest.raises(ValueError, match="has a value in row 2 that is below 0"):
        model.evaluate(make(fed["weight"]), verbose=0)
    # The model goes on with good ones.
    good = [x[:1] for x in fed["good"]]
    model.fit(make(good), steps_per_epoch=3, verbose=0)
    whole = model.evaluate(batch(), Y, verbose=0)
    # Of either shape, and then of the other.
    for y in (Y, Y[:, None], Y):
        logs = model.evaluate(make([(batch(), y)] * 3), steps=3, verbose=0)
        assert logs == pytest.approx(whole, rel=1e-5)
    assert model.predict(make(fed["good"]), steps=3, verbose=0).shape == (6, 21)


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_a_wrong_batch_that_begins_a_later_epoch_takes_no_weights_away(
    model, jit_compile
):
    class Later(Batches):
        later = False

        def __getitem__(self, index):
            return THIRD_IS_WRONG[2] if self.later else batch()

    data = Later([batch()] * 2)

    def end(epoch, logs):
        data.later = True

    model.compile("sgd", jit_compile=jit_compile)
    model.fit(batch(), verbose=0)
    before = model.get_weights()
    with pytest.raises(ValueError, match="'item' of the inputs holds id 21"):
        model.fit(
            data,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end)],
            validation_data=Batches([(batch(), Y)]),
            epochs=3,
            shuffle=False,
            verbose=0,
        )
    after = model.get_weights()
    trained = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    # Those of the first epoch, whole.
    assert any(trained) and np.isfinite(model.predict(batch(), verbose=0)[:, 2:]).all()


def test_names_of_metrics_are_in_the_order_of_what_evaluate_returns(model):
    values = model.evaluate(batch(), Y, verbose=0)
    logs = model.evaluate(batch(), Y, verbose=0, return_dict=True)
    names = model.metrics_names
    assert dict(zip(names, np.atleast_1d(values), strict=False)) == pytest.approx(logs)


def test_a_dataset_is_to_keras_what_it_was(model):
    batches, seen = [(batch(), Y)] * 3, []
    own = Batches(batches, workers=2, use_multiprocessing=True, max_queue_size=5)
    for kind in ("workers", "use_multiprocessing", "max_queue_size", "num_batches"):
        assert getattr(checked(own, seen.append), kind) == getattr(own, kind)
    plain = Batches(batches)
    model.evaluate(plain, verbose=0)
    assert plain.epochs[-2:] == ["begun", "ended"]
    # One without an end has no length.
    endless = type("Endless", (Batches,), {"num_batches": None})(batches * 9)
    model.evaluate(endless, steps=2, verbose=0)
    loader = of_torch(batches)
    looked_at = checked(loader, seen.append)
    assert isinstance(looked_at, type(loader)) and len(looked_at) == 3
    assert looked_at.dataset is batches and len(list(looked_at)) == len(seen) == 3
    graph = of_tensorflow(batches)
    looked_at = checked(graph, seen.append)
    assert looked_at.element_spec == graph.element_spec
    assert int(looked_at.cardinality()) == 3
    sessions = pl.DataFrame({"item": [[5, 6]], "age": [[0.0, 1.0]]})
    loader = t4r.KerasSequenceLoader(sessions, model.schema, 1)
    for needs_no_look in (loader, checked(own, seen.append), batch(), None):
        assert checked(needs_no_look, seen.append) is needs_no_look
    with_own_batches = {"__getitem__": lambda self, index: (batch(), Y)}
    loader.__class__ = type("Own", (t4r.KerasSequenceLoader,), with_own_batches)
    assert checked(loader, seen.append)[0][0].keys() == batch().keys()
    assert len(seen) == 5


def test_weights_are_one_a_session(model):
    before = model.get_weights()
    for shape in [(2, 3), (2, 4), (2, 1), (3,), (2, 1, 1), ()]:
        bad = np.ones(shape)
        why = r"sample_weight of .* it should have \(2,\), one a session\."
        for refused in (
            lambda w: model.fit(batch(), sample_weight=w, verbose=0),
            lambda w: model.train_on_batch(batch(), sample_weight=w),
            lambda w: model.evaluate(batch(), Y, sample_weight=w, verbose=0),
            lambda w: model.test_on_batch(batch(), Y, sample_weight=w),
            lambda w: model.fit(batch(), validation_data=(batch(), Y, w), verbose=0),
            lambda w: model.fit(Batches([(batch(), {}, w)]), verbose=0),
            lambda w: model.evaluate(Batches([(batch(), Y, w)]), verbose=0),
        ):
            with pytest.raises(ValueError, match=why):
                refused(bad)
    for value, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)


def test_weights_of_events_are_as_many_as_their_targets():
    weight, target, axes = np.ones((2, 4)), np.ones((2, 4, 1)), {"liked": 3}
    for fine in (weight, weight[:, 0]):
        check_weights({"liked": fine}, {"liked": target}, axes, 2)
    for bad in (weight[:, :3], weight[..., None]):
        with pytest.raises(ValueError, match=r"or \(2, 4\), one an event"):
            check_weights({"liked": bad}, {"liked": target}, axes, 2)
    bought = {"bought": np.ones((2, 3))}, {"bought": np.ones((2, 3))}, {"bought": 2}
    with pytest.raises(ValueError, match=r"it should have \(2,\), one a session\.$"):
        check_weights(*bought, 2)
    # Keras takes a column for an output that is one, too.
    check_weights({"bought": np.ones((2, 1))}, *bought[1:], 2)
