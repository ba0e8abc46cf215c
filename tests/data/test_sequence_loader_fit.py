"""fit, evaluate and predict take the loader, on the backend of the run."""

import keras
import numpy as np
import pyarrow as pa
import pytest
from keras import ops
from seeds import set_seed

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema

SCHEMA = Schema(
    (
        ColumnSchema("session_id", tags=("session_id",)),
        ColumnSchema(
            "item_id", "int64", ("item_id", "categorical"), Domain(1, 20), (1, 16)
        ),
        ColumnSchema("price", "float32", ("continuous",), None, (1, 16)),
        ColumnSchema("age", "float32", ("continuous",)),
    )
)
TASKS = Schema(
    (
        *SCHEMA,
        ColumnSchema("bought", "int64"),
        ColumnSchema("clicked", "int64", (), None, (1, 16)),
        ColumnSchema("importance", "float32"),
    )
)


def make_table(lengths, seed=0):
    rng = np.random.default_rng(seed)
    items = [rng.integers(1, 21, n).tolist() for n in lengths]
    return pa.table(
        {
            "session_id": np.arange(len(items)),
            "item_id": pa.array(items, pa.list_(pa.int64())),
            "price": [[i / 20 for i in s] for s in items],
            "age": pa.array([len(s) / 16 for s in items]),
        }
    )


@keras.saving.register_keras_serializable("test_sequence_loader_fit")
class SquareLoss(keras.layers.Layer):
    """A loss of its own, as the heads have: there is no y in training."""

    def call(self, x):
        self.add_loss(ops.mean(ops.square(x - 1.0)))
        return x


def make_model(own_loss):
    inputs = SCHEMA.inputs()
    x = keras.layers.Embedding(21, 4)(inputs["item_id"])
    x = ops.sum(x * ops.expand_dims(inputs["price"], -1), axis=1)
    x = ops.concatenate([x, ops.expand_dims(inputs["age"], -1)], axis=-1)
    x = keras.layers.Dense(21, activation=None if own_loss else "softmax")(x)
    model = keras.Model(inputs, SquareLoss()(x) if own_loss else x)
    model.compile(
        "sgd",
        loss=None if own_loss else "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    return model


def varied(count=70):
    return make_table(np.random.default_rng(5).integers(1, 17, count))


@pytest.mark.parametrize(
    "arguments",
    [{}, {"workers": 2}, {"buffer_rows": 24}, {"bucket": False}, {"drop_last": True}],
    ids=str,
)
def test_fit_trains_without_a_target(arguments):
    loader = KerasSequenceLoader(varied(), SCHEMA, 8, **arguments)
    history = make_model(True).fit(loader, epochs=3, verbose=0)
    losses = history.history["loss"]
    assert len(losses) == 3 and losses[2] < losses[0]
    assert loader.epoch == 3


def test_evaluate_and_predict_give_one_row_a_session_in_the_order_of_the_file():
    table = make_table(np.random.default_rng(6).integers(2, 17, 45))
    loader = KerasSequenceLoader(table, SCHEMA, 8, target="last")
    model = make_model(False)
    loss = model.evaluate(loader, verbose=0)
    predicted = model.predict(loader, verbose=0)
    wide = KerasSequenceLoader(table, SCHEMA, 45, target="last", bucket=False)
    x, y = wide[0]
    np.testing.assert_allclose(predicted, model.predict(x, verbose=0), rtol=1e-5)
    by_hand = -np.log(predicted[np.arange(45), y]).mean()
    np.testing.assert_allclose(loss, by_hand, rtol=1e-4)


def test_fit_takes_a_loader_for_validation():
    train = KerasSequenceLoader(varied(), SCHEMA, 8, target="last", shuffle=True)
    valid = KerasSequenceLoader(varied(40), SCHEMA, 16, target="last")
    history = make_model(False).fit(
        train, epochs=2, validation_data=valid, verbose=0, shuffle=False
    )
    assert len(history.history["val_loss"]) == 2


# Lengths for which the first two batches would have equal times, and others not.
LENGTHS = {
    "all short but one": [2] * 60 + [16],
    "all long but one": [16] * 60 + [2],
    "long, then short": [16] * 30 + [2] * 30,
    "short, then long": [2] * 30 + [16] * 30,
    "one batch": [2, 16, 5],
    "all equal": [16] * 40,
    "a tail of one": [3] * 16 + [16],
}


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_fit_accepts_every_time_of_every_epoch(lengths, shuffle):
    loader = KerasSequenceLoader(make_table(lengths), SCHEMA, 8, shuffle=shuffle)
    make_model(True).fit(loader, epochs=4, verbose=0)
    seen = {x["item_id"].shape[1] for (x,) in loader}
    assert max(seen) <= 16


def test_worker_processes_advance_the_epoch_too():
    loader = KerasSequenceLoader(
        varied(), SCHEMA, 8, workers=2, use_multiprocessing=True
    )
    for _ in range(2):
        loader.on_epoch_begin()
        loader.on_epoch_end()
    assert loader.epoch == 2


def test_equal_seeds_train_to_equal_weights():
    def weights():
        set_seed(1)
        model = make_model(True)
        loader = KerasSequenceLoader(varied(), SCHEMA, 8, seed=5)
        model.fit(loader, epochs=2, verbose=0, shuffle=False)
        return model.get_weights()

    for one, other in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def with_tasks(table):
    items = table["item_id"].to_pylist()
    columns = {
        "bought": [len(s) % 2 == 0 for s in items],
        "clicked": [[i % 2 for i in s] for s in items],
        "importance": [len(s) / 8 for s in items],
    }
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    "arguments",
    [
        {"targets": ["bought", "clicked"]},
        {"targets": ["bought"], "sample_weight": "importance"},
    ],
    ids=str,
)
def test_one_loader_trains_and_evaluates_all_tasks(arguments):
    # Of all inputs only this one is read: Keras 3.12 takes no others.
    inputs = {"item_id": SCHEMA.inputs()["item_id"]}
    x = keras.layers.Embedding(21, 4, mask_zero=True)(inputs["item_id"])
    mean = keras.layers.GlobalAveragePooling1D()(x)
    outputs = {
        "item_id": keras.layers.Dense(21, "softmax")(mean),
        "bought": keras.layers.Dense(1, "sigmoid")(mean),
        "clicked": keras.layers.Dense(2, "softmax")(x),
    }
    losses = {
        "item_id": "sparse_categorical_crossentropy",
        "bought": "binary_crossentropy",
        "clicked": "sparse_categorical_crossentropy",
    }
    names = ["item_id", *arguments["targets"]]
    model = keras.Model(inputs, {name: outputs[name] for name in names})
    losses = {name: losses[name] for name in names}
    model.compile("sgd", loss=losses, jit_compile=False)
    arguments = {"target": "last", "columns": ["item_id"], **arguments}
    loader = KerasSequenceLoader(with_tasks(varied()), TASKS, 8, **arguments)
    history = model.fit(
        loader, epochs=2, validation_data=loader, shuffle=False, verbose=0
    ).history
    for name in names:
        assert np.isfinite(history[f"val_{name}_loss"]).all()
    assert history["val_loss"][1] < history["val_loss"][0]
    wide = KerasSequenceLoader(with_tasks(varied()), TASKS, 99, **arguments)
    x, y, *weights = wide[0]
    predicted = np.asarray(model.predict_on_batch(x)["item_id"])
    loss = -np.log(predicted[np.arange(len(predicted)), y["item_id"]])
    by_hand = (loss * weights[0]).mean() if weights else loss.mean()
    logs = model.evaluate(wide, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["item_id_loss"], by_hand, rtol=1e-4)


@pytest.mark.backends("torch")
def test_weights_without_a_target_are_taken_by_fit():
    loader = KerasSequenceLoader(
        with_tasks(varied()),
        TASKS,
        8,
        sample_weight="importance",
        columns=["item_id", "price", "age"],
    )
    losses = make_model(True).fit(loader, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]
