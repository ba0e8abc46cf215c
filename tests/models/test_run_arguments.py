"""Arguments of compile, fit, evaluate and predict: honoured, or one sentence."""

from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest

import keras_t4r as t4r

pytestmark = pytest.mark.backends("torch")
SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item", tags=("item_id",), domain=t4r.Domain(2, 9), value_count=(1, 8)
        ),
    )
)
TABLE = pa.table({"item": [[3, 4, 5], [6, 7], [8, 9]]})
X = {"item": np.array([[5, 6, 7, 0], [3, 4, 0, 0]])}
Y = np.array([3, 4])


@pytest.fixture(autouse=True)
def fresh_session():
    """The model is made once."""


@pytest.fixture(scope="module")
def made():
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item"])
    return t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))


@pytest.fixture
def model(made):
    made.compile("sgd")
    return made


@pytest.fixture(scope="module")
def train():
    return t4r.KerasSequenceLoader(TABLE, SCHEMA, 2, shuffle=False)


@pytest.fixture(scope="module")
def test():
    return t4r.KerasSequenceLoader(TABLE, SCHEMA, 2, target="last")


SAID_OF_A_LOADER = r"batch_size is 8, but a KerasSequenceLoader makes its batches"
FIT = [
    (dict(batch_size=8), ValueError, SAID_OF_A_LOADER),
    (dict(validation_batch_size=8), ValueError, "without validation_data: give that"),
    (dict(validation_steps=2), ValueError, "validation_steps has no meaning without"),
    (dict(validation_freq=2), ValueError, "validation_freq has no meaning without"),
    (dict(validation_freq=0), ValueError, "validation_freq is 0; it should be 1 or"),
    (dict(steps_per_epoch=0), ValueError, "steps_per_epoch is 0; it should be 1 or"),
    (dict(epochs=-1), ValueError, "epochs is -1; it should be 0 or more"),
    (dict(epochs=1.5), TypeError, "epochs is 1.5; it should be a whole number"),
    (dict(initial_epoch=-1), ValueError, "initial_epoch is -1; it should be 0 or"),
    (dict(epochs=2, initial_epoch=3), ValueError, "epochs is the number of the last"),
    (dict(verbose="loud"), ValueError, "verbose is 'loud'; it should be one of"),
    (dict(verbose=None), ValueError, "verbose is None; it should be one of"),
    (dict(callbacks=["x"]), TypeError, "'x' among the callbacks is none: give Keras"),
    (dict(callbacks="stop"), TypeError, "'stop' among the callbacks is none"),
    (dict(validation_data=TABLE), TypeError, "validation_data is of type Table; give"),
    (dict(validation_data="a/b"), TypeError, "validation_data is of type str; give a"),
    (dict(validation_data=Path("a")), TypeError, "validation_data is of type PosixPa"),
    (dict(validation_data=X), TypeError, "validation_data is of type dict; give a"),
    (dict(validation_data=Y), TypeError, "validation_data is of type ndarray; give a"),
]


@pytest.mark.parametrize(("arguments", "error", "why"), FIT, ids=lambda v: str(v)[:30])
def test_fit_takes_or_refuses(model, train, arguments, error, why):
    before = model.get_weights()
    with pytest.raises(error, match=why):
        model.fit(train, **{"verbose": 0, **arguments})
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


RUN = [
    (dict(batch_size=8), ValueError, SAID_OF_A_LOADER),
    (dict(steps=0), ValueError, "steps is 0; it should be 1 or more"),
    (dict(steps=1.5), TypeError, "steps is 1.5; it should be a whole number"),
    (dict(verbose="loud"), ValueError, "verbose is 'loud'; it should be one of"),
    (dict(callbacks=["x"]), TypeError, "'x' among the callbacks is none: give Keras"),
]


@pytest.mark.parametrize(("arguments", "error", "why"), RUN, ids=lambda v: str(v)[:30])
def test_evaluate_and_predict_take_or_refuse(model, test, arguments, error, why):
    for run in (model.evaluate, model.predict):
        with pytest.raises(error, match=why):
            run(test, **{"verbose": 0, **arguments})


def test_a_loader_to_validate_on_makes_its_own_batches(model, train, test):
    both = dict(validation_data=test, verbose=0)
    with pytest.raises(ValueError, match=f"validation_{SAID_OF_A_LOADER}"):
        model.fit(train, validation_batch_size=8, **both)
    # Of arrays it says something, and of the loader beside them nothing.
    model.fit(X, batch_size=1, **both)
    logs = model.fit(train, epochs=4, validation_freq=[2, 4], **both).history
    assert len(logs["loss"]) == 4 and len(logs["val_loss"]) == 2
    model.fit(train, validation_data=(X, Y), validation_batch_size=1, verbose=0)
    model.fit(train, epochs=3, initial_epoch=3, validation_steps=1, **both)


WEIGHTS = [float("nan"), float("inf"), "1", True, [1.0, 2.0], [], {"item": "1"}]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_loss_weights_are_finite_numbers(made, weights):
    if isinstance(weights, dict):
        weights = dict.fromkeys(made.output_names, "1")
    with pytest.raises(
        (ValueError, TypeError), match=r"^(The loss weight|loss_weights)"
    ):
        made.compile("sgd", loss_weights=weights)
    made.compile("sgd", loss_weights=[np.float32(-0.5)])


def test_without_an_optimizer_a_model_is_evaluated_only(made, train, test):
    made.compile(None)
    for run in (lambda: made.fit(train, verbose=0), lambda: made.train_on_batch(X)):
        with pytest.raises(ValueError, match="optimizer=None, so it can be evaluated"):
            run()
    assert np.isfinite(made.evaluate(test, verbose=0)).all()


@pytest.mark.parametrize("steps", [0, -1, 1.5, "2", None, True])
def test_steps_per_execution_are_whole(made, steps):
    with pytest.raises((ValueError, TypeError), match=r"^steps_per_execution is"):
        made.compile("sgd", steps_per_execution=steps)


@pytest.mark.parametrize("what", ["metrics", "weighted_metrics"])
def test_a_metric_has_a_name_of_its_own(made, what):
    for metric in (t4r.metrics.NDCG(3, name="loss"), keras.metrics.Mean(name="loss")):
        with pytest.raises(ValueError, match=f"{what} has a metric of the name 'loss'"):
            made.compile("sgd", **{what: [metric]})
    with pytest.raises(TypeError, match="name is 5; it should be text"):
        t4r.metrics.NDCG(3, name=5)
