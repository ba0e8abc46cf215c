"""Plain Keras outputs, on summaries, experts and towers, do the tasks of a session."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends

TIME = 6


def sessions(rows=96, seed=0):
    """Items, and what is asked of them: of the last, of all, and of each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, TIME + 1, rows)
    real = np.arange(TIME) < lengths[:, None]
    ids = rng.integers(1, 9, (rows, TIME)) * real
    y = {
        "bought": ids[np.arange(rows), lengths - 1] > 4,
        "price": ids.sum(1) / lengths,
        "liked": ids % 2,
    }
    shapes = {"bought": (rows, 1), "price": (rows, 1), "liked": (rows, TIME, 1)}
    y = {name: y[name].reshape(shape).astype("f4") for name, shape in shapes.items()}
    return ids.astype("int32"), y, real


EXPERTS = {
    "mmoe": lambda: t4r.MMoE(3, num_experts=3, units=(16, 12)),
    "ple": lambda: t4r.PLE(
        3, num_layers=2, num_task_experts=1, num_shared_experts=2, units=12
    ),
}


def tasks_over(experts):
    """Binary and regression of the session, and binary of each event."""
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 12, mask_zero=True)(ids)
    x = keras.layers.LayerNormalization()(keras.layers.Dense(12, "relu")(x))
    for_bought, for_price, for_liked = experts(x)
    last = t4r.SessionSummary("last")(for_bought)
    all_of_it = t4r.SessionSummary("attention")(for_price)
    outputs = {
        "bought": keras.layers.Dense(1, "sigmoid", name="bought")(
            t4r.TaskTower(8, dropout=0.0)(last)
        ),
        "price": keras.layers.Dense(1, name="price")(all_of_it),
        "liked": keras.layers.Dense(1, "sigmoid", name="liked")(for_liked),
    }
    return keras.Model(ids, outputs)


def compile_tasks(model, optimizer):
    model.compile(
        optimizer,
        loss={"bought": "binary_crossentropy", "price": "mse"}
        | {"liked": "binary_crossentropy"},
        loss_weights={"bought": 1.0, "price": 0.2, "liked": 0.5},
        metrics={"bought": ["auc"], "price": ["mae"]},
        # Not every metric reads the mask: padding has the weight 0.
        weighted_metrics={"liked": ["binary_accuracy"]},
    )


def answers(model, ids):
    return {task: ops.convert_to_numpy(y) for task, y in model(ids).items()}


@pytest.mark.parametrize("kind", EXPERTS)
def test_three_tasks_train_together_and_come_back(kind, tmp_path):
    model = tasks_over(EXPERTS[kind]())
    compile_tasks(model, keras.optimizers.Adam(0.03))
    ids, y, _ = sessions()
    history = model.fit(ids, y, batch_size=96, epochs=40, verbose=0).history
    for task in y:
        assert history[f"{task}_loss"][-1] < 0.5 * history[f"{task}_loss"][0], task
    new, y, real = sessions(seed=1)
    weights = {"bought": np.ones(96), "price": np.ones(96), "liked": real * 1.0}
    logs = model.evaluate(new, y, sample_weight=weights, return_dict=True, verbose=0)
    assert logs["bought_auc"] > 0.8 and logs["liked_binary_accuracy"] > 0.9
    total = sum(
        share * logs[f"{task}_loss"]
        for task, share in (("bought", 1.0), ("price", 0.2), ("liked", 0.5))
    )
    assert logs["loss"] == pytest.approx(total, rel=1e-4)

    expected = answers(model, new)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    rebuilt = keras.Model.from_config(model.get_config())
    for other in (clone, rebuilt):
        other.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone, rebuilt):
        for task, answer in answers(other, new).items():
            np.testing.assert_allclose(answer, expected[task], rtol=0, atol=1e-6)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("kind", EXPERTS)
def test_padded_events_count_for_nothing_in_a_loss_an_event(kind):
    ids, y, real = sessions(16)
    other = y["liked"].copy()
    other[~real] = 1.0
    model = tasks_over(EXPERTS[kind]())
    compile_tasks(model, keras.optimizers.SGD(0.1))
    start, results = model.get_weights(), []
    for liked in (y["liked"], other):
        model.set_weights(start)
        logs = model.fit(ids, {**y, "liked": liked}, batch_size=16, verbose=0)
        results.append((logs.history["liked_loss"][0], model.get_weights()))
    (first, weights), (again, weights_again) = results
    assert again == pytest.approx(first, rel=1e-5)
    for old, one, same in zip(start, weights, weights_again, strict=True):
        np.testing.assert_allclose(one, same, rtol=0, atol=1e-6)
        assert (one != old).any()
    # The mean over real events, and only those.
    model.set_weights(start)
    p = answers(model, ids)["liked"][real]
    wanted = y["liked"][real]
    entropy = -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean()
    assert first == pytest.approx(entropy, rel=1e-4)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("kind", EXPERTS)
def test_more_padding_changes_no_answer(kind):
    model = tasks_over(EXPERTS[kind]())
    ids, _, _ = sessions(12)
    expected = answers(model, ids)
    longer = answers(model, np.pad(ids, ((0, 1), (0, 3))))
    for task, answer in expected.items():
        longer[task] = longer[task][:12]
        if task == "liked":
            longer[task] = longer[task][:, :TIME]
        np.testing.assert_allclose(longer[task], answer, rtol=0, atol=1e-6)


def test_classes_of_a_session_and_of_an_event():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    session = t4r.TaskTower((16, 8))(t4r.SessionSummary("max")(x))
    outputs = {
        "device": keras.layers.Dense(3, "softmax", name="device")(session),
        "shelf": keras.layers.Dense(4, "softmax", name="shelf")(x),
    }
    model = keras.Model(ids, outputs)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.05), {"device": loss, "shelf": loss})
    data, _, _ = sessions()
    y = {"device": data.max(1) // 3, "shelf": data // 2 % 4}
    history = model.fit(data, y, batch_size=96, epochs=30, verbose=0).history
    for task in outputs:
        assert history[f"{task}_loss"][-1] < 0.5 * history[f"{task}_loss"][0]
