import json

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras import ops
from seeds import set_seed

import keras_t4r as t4r
from keras_t4r.models.graph import find_layers
from keras_t4r.schema.encoded_ids import mark_encoded
from keras_t4r.training.baselines import Markov, Popularity
from keras_t4r.training.checkpoint import variables_of

ITEMS, EPOCHS = 30, 2
SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, ITEMS + 1),
            value_count=(1, 8),
        ),
    )
)


@pytest.fixture
def folder(tmp_path):
    """Three windows of sessions that walk through the items in order."""
    return write_windows(tmp_path, 60)


def write_windows(tmp_path, count):
    rng = np.random.default_rng(0)
    for window in (1, 2, 3):
        starts = rng.integers(0, ITEMS, count)
        lengths = rng.integers(2, 9, count)
        lists = [
            [int((s + i) % ITEMS + 2) for i in range(n)]
            for s, n in zip(starts, lengths, strict=True)
        ]
        table = pa.table({"item_id": pa.array(lists, pa.list_(pa.int32()))})
        (tmp_path / "sessions" / str(window)).mkdir(parents=True)
        pq.write_table(table, tmp_path / "sessions" / str(window) / "sessions.parquet")
    SCHEMA.save(tmp_path / "sessions" / "schema.pbtxt")
    return tmp_path / "sessions"


def make_model(memory=False, recurrent=False, schema=SCHEMA):
    set_seed(5)
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=16, dropout=0.1)
    inputs = schema.inputs()
    x, table = features(inputs)
    x, targets = t4r.MaskedLanguageModeling(rate=0.4)(x, inputs["item_id"])
    if recurrent:
        x = t4r.TransformerBlock(keras.layers.LSTM(16, return_sequences=True))(x)
    else:
        x = keras.layers.Dense(16)(x)
    outputs = t4r.NextItemHead()(x, targets, table)
    if memory:
        step = t4r.TransitionMemory(SCHEMA, 40.0, half_life=2)
        outputs = step(outputs, inputs["item_id"])
    model = t4r.SessionModel(inputs, outputs)
    model.compile(
        keras.optimizers.Adam(1e-2),
        metrics=[t4r.metrics.NDCG(5)],
        # Runs of a few steps take longer to compile than to run.
        run_eagerly=keras.backend.backend() == "tensorflow" and not recurrent,
    )
    return model


def run(folder, model=None, **arguments):
    model = model or make_model()
    report = t4r.fit_windows(
        model, folder, epochs=EPOCHS, batch_size=16, verbose=False, **arguments
    )
    return model, report


def test_each_window_is_evaluated_after_the_one_before_it_was_fit(folder):
    baselines = {"count": Markov(SCHEMA), "popular": Popularity(SCHEMA)}
    _, report = run(folder, baselines=baselines)
    assert report.windows == ["2", "3"]
    assert report.models == ["model", "count", "popular"]
    average = report.average()
    by_hand = np.mean([r["ndcg_5"] for r in report.rows if r["model"] == "count"])
    assert average["count"]["ndcg_5"] == pytest.approx(by_hand)
    # The next item follows from the last: a count of transitions finds it.
    assert average["count"]["ndcg_5"] > 0.6 > average["popular"]["ndcg_5"]
    assert report.best_baseline("ndcg_5") == "count"
    assert "average" in str(report)


def test_a_model_that_diverges_is_reported_as_nan(folder):
    model = make_model(memory=True)
    model.compile(
        keras.optimizers.SGD(1e30),
        metrics=[t4r.metrics.NDCG(5)],
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    _, report = run(folder, model, baselines={"count": Markov(SCHEMA)})
    for row in report.rows:
        assert np.isnan(row["ndcg_5"]) == (row["model"] != "count")
    # A strength is not chosen by what is no number.
    assert float(ops.convert_to_numpy(model.memory.strength)) == 40.0


def test_a_memory_learns_each_window_before_the_next_is_evaluated(tmp_path):
    folder = write_windows(tmp_path / "of 120", 120)
    model = make_model(memory=True, recurrent=True)
    (memory,) = find_layers(model, t4r.TransitionMemory)
    memory.strength.assign(1e3)
    _, report = run(folder, model, windows=["1", "2", "3"])
    assert report.models == ["model", "model, no memory"]
    last = {row["model"]: row["ndcg_5"] for row in report.rows[-2:]}
    assert last["model"] > 0.6 > last["model, no memory"]
    by_hand = t4r.TransitionMemory(SCHEMA, half_life=2)
    for window in ("1", "2"):
        by_hand.update_state(t4r.KerasSequenceLoader(folder / window, SCHEMA, 16))
    for name in ("follower", "count", "total"):
        a, b = getattr(memory, name), getattr(by_hand, name)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match="no baseline"):
        report.best_baseline("ndcg_5")
    # The second window, ranked before it was learned, took the counts' side.
    assert float(memory.strength) < 1e3


@pytest.mark.backends("torch")
def test_a_large_first_window_chooses_a_strength_and_is_fit_as_without(
    folder, tmp_path, monkeypatch
):
    def run(folder, strength=1e6, windows=2, **arguments):
        model = make_model(memory=True)
        (memory,) = find_layers(model, t4r.TransitionMemory)
        memory.strength.assign(strength)
        names = ["1", "2", "3"][:windows]
        options = {"epochs": 2, "batch_size": 256, "verbose": False, **arguments}
        report = t4r.fit_windows(model, folder, windows=names, **options)
        return model, report, float(ops.convert_to_numpy(memory.strength))

    def sums(place):
        (path,) = place.glob("checkpoint-*/state.json")
        return json.loads(json.loads(path.read_text())["state"])["strengths"]

    # Six sessions, a tenth of the small window, say nothing.
    assert run(folder)[2] == 1e6
    large = write_windows(tmp_path / "large", 1100)
    tuned, report, strength = run(large)
    # The counts know the next item, the network does not.
    assert strength < 1e6 and report.rows[0]["ndcg_5"] > 0.6
    # A run that is killed in its first and in its second window goes on to the same.
    places = [tmp_path / name for name in ("whole", "killed")]
    whole, report, _ = run(large, windows=3, checkpoint=places[0])
    killed = {"windows": 3, "checkpoint": places[1]}
    for batch in (7, 1, 8):
        with pytest.raises(Killed):
            run(large, callbacks=[KillAt(batch)], **killed)
    resumed, again, _ = run(large, callbacks=[KillAt()], **killed)
    assert again.rows == report.rows
    assert sums(places[0]) == sums(places[1]) and sums(places[0])[0][1] > 1100
    same(whole, resumed)
    # All but the strength is as if nothing had been tried.
    monkeypatch.setattr("keras_t4r.training.steps_over_windows._ENOUGH", 1e9)
    untuned, _, _ = run(large, strength)
    for one, another in zip(variables_of(tuned), variables_of(untuned), strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (one, another)))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="strategies are TensorFlow's"
)
def test_an_optimizer_is_built_in_the_scope_of_its_strategy():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = make_model()
    assert not model.optimizer.built
    found = {id(variable) for variable in variables_of(model)}
    assert found.issuperset(map(id, model.optimizer.variables))


def two_outputs(memory=False):
    """Items, and whether the session was bought, which the first item says."""
    set_seed(5)
    inputs = SCHEMA.inputs()
    items = inputs["item_id"]
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=16)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, items)
    x = t4r.TransformerBlock(keras.layers.GRU(16, return_sequences=True))(x)
    scores = t4r.NextItemHead()(x, targets, table)
    if memory:
        scores = t4r.TransitionMemory(SCHEMA)(scores, items)
    bought = keras.layers.Dense(1, "sigmoid")(t4r.SessionSummary("first")(x))
    model = t4r.SessionModel(inputs, {"next_item": scores, "bought": bought})
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss={"bought": "binary_crossentropy"},
        metrics={"next_item": [t4r.metrics.NDCG(5)], "bought": ["auc"]},
    )
    return model


def test_a_model_of_several_outputs_is_fit_by_the_targets_of_the_files(folder):
    for path in folder.glob("*/sessions.parquet"):
        table = pq.read_table(path)
        bought = [int(row[0] > 15) for row in table["item_id"].to_pylist()]
        pq.write_table(table.append_column("bought", pa.array(bought)), path)
    baselines = {"count": Markov(SCHEMA)}
    schema = t4r.Schema((*SCHEMA, t4r.ColumnSchema("bought", "int64")))
    model, report = run(
        folder,
        two_outputs(memory=True),
        schema=schema,
        targets=["bought"],
        baselines=baselines,
    )
    assert report.models == ["model", "model, no memory", "count"]
    # The model's names in the logs, for the baselines too.
    assert report.metrics == ["next_item_ndcg_5"]
    test = t4r.KerasSequenceLoader(
        folder / "3", schema, 512, target="last", targets=["bought"]
    )
    logs = model.evaluate(test, verbose=0, return_dict=True)
    assert logs["next_item_ndcg_5"] == report.rows[-3]["next_item_ndcg_5"]
    assert logs["bought_auc"] > 0.6
    with pytest.raises(ValueError, match="have a loss, but the data has no targets"):
        run(folder, two_outputs())


def test_max_length_counts_the_event_that_is_held_back(folder, monkeypatch):
    loaders = []

    class Recorded(t4r.KerasSequenceLoader):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            loaders.append((self.target, self.max_length))

    monkeypatch.setattr("keras_t4r.training.windows.KerasSequenceLoader", Recorded)
    for length, given in ((None, 8), (8, 8), (5, 5)):
        loaders.clear()
        run(folder, make_model(memory=True), max_length=length)
        assert set(loaders) == {(None, given), ("last", given - 1)}


def test_one_callback_stands_for_a_list(folder):
    seen = []
    one = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(1))
    for callbacks in (one, (one,), lambda window: one):
        run(folder, callbacks=callbacks)
    assert len(seen) == 6


def test_sessions_of_another_etl_are_found_before_the_first_is_fit(folder):
    other = t4r.Vocabulary([f"item {i}" for i in range(ITEMS)], name="item_id")
    path = folder / "3" / "sessions.parquet"
    pq.write_table(mark_encoded(pq.read_table(path), {"item_id": other}), path)
    with pytest.raises(ValueError, match=r"3/sessions.parquet were .* the model lacks"):
        run(folder, make_model())
    own = t4r.Vocabulary([f"item {-i}" for i in range(ITEMS)], name="item_id")
    own.save(folder / "vocabularies" / "item_id.parquet")
    schema = t4r.Schema.load(folder / "schema.pbtxt")
    model = make_model(memory=True, schema=schema)
    before = model.get_weights()
    # By the schema beside the files, and by the model's where it is another.
    for given in (None, SCHEMA):
        message = "3/sessions.parquet were encoded by another vocabulary than the"
        with pytest.raises(ValueError, match=message):
            run(folder, model, schema=given)
    for one, another in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, another)


class Killed(Exception):
    pass


class KillAt(keras.callbacks.Callback):
    """Stops a run in the middle of an epoch, as a kill would; or never."""

    # Of the class: no checkpoint keeps it.
    left = 0

    def __init__(self, batch=0):
        super().__init__()
        KillAt.left = batch

    def on_train_batch_end(self, batch, logs=None):
        KillAt.left -= 1
        if KillAt.left == 0:
            raise Killed


def same(a, b):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("batch", "memory"),
    [
        (2, True),
        pytest.param(11, False, marks=pytest.mark.backends),
        pytest.param(11, True, marks=pytest.mark.backends),
    ],
)
def test_a_killed_run_goes_on_to_the_same_result(folder, tmp_path, batch, memory):
    def make():
        return make_model(memory, recurrent=batch == 11)

    whole, report = run(folder, make())
    place = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(folder, make(), checkpoint=place, callbacks=[KillAt(batch)])
    resumed, again = run(folder, make(), checkpoint=place, callbacks=[KillAt()])
    assert again.rows == report.rows
    same(whole, resumed)
    assert [p.name[:11] for p in place.iterdir()] == ["checkpoint-"]


class Changes(keras.callbacks.Callback):
    """Holds what a user's callback may hold, and acts on it."""

    def __init__(self):
        super().__init__()
        self.seen, self.by_name, self.pair = [], {}, (0, 0.0)
        self.names, self.mean = set(), np.zeros(3, "float32")

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(logs["loss"])
        self.by_name[len(self.seen)] = np.float32(logs["loss"])
        self.pair = (self.pair[0] + 1, self.pair[1] + logs["loss"])
        self.names.add(f"epoch {self.pair[0]}")
        self.mean = self.mean + np.float32(logs["loss"])
        everything = self.pair[1] + sum(self.by_name.values()) + self.mean.sum()
        rate = everything / (sum(self.seen) + 10 * self.pair[0] * len(self.names))
        self.model.optimizer.learning_rate.assign(0.01 * rate)


STATEFUL = {
    "reduce": lambda: keras.callbacks.ReduceLROnPlateau(
        "loss", factor=0.3, patience=2, min_delta=0.5
    ),
    "stop": lambda: keras.callbacks.EarlyStopping("loss", patience=2, min_delta=0.5),
    "stop, best weights": lambda: keras.callbacks.EarlyStopping(
        "loss", mode="max", patience=3, restore_best_weights=True
    ),
    "a user's own": Changes,
    "averaged weights": lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=False),
}


def run_with(kind, folder, *more, fresh=False, **arguments):
    model = make_model()
    use_ema = kind == "averaged weights"
    model.compile(
        keras.optimizers.Adam(1e-2, use_ema=use_ema, ema_momentum=0.9),
        metrics=[t4r.metrics.NDCG(5)],
    )
    callbacks = [STATEFUL[kind](), *more]
    if fresh:
        callbacks = lambda window: [STATEFUL[kind](), *more]  # noqa: E731
    report = t4r.fit_windows(
        model,
        folder,
        epochs=6,
        batch_size=16,
        verbose=False,
        callbacks=callbacks,
        **arguments,
    )
    return model, report


# A window has 6 epochs of 4 batches, or fewer where it is stopped.
@pytest.mark.parametrize(
    "kind, batch, fresh",
    [
        pytest.param("reduce", 19, False, marks=pytest.mark.backends),
        ("stop, best weights", 11, False),
        ("a user's own", 14, True),
        ("averaged weights", 14, False),
    ],
)
def test_callbacks_go_on_from_what_they_had_counted(
    folder, tmp_path, kind, batch, fresh
):
    whole, report = run_with(kind, folder, fresh=fresh)
    place = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run_with(kind, folder, KillAt(batch), fresh=fresh, checkpoint=place)
    resumed, again = run_with(kind, folder, KillAt(), fresh=fresh, checkpoint=place)
    assert again.rows == report.rows
    same(whole, resumed)


class KillAtEnd(keras.callbacks.Callback):
    """Dies after a window's last epoch, before the window is evaluated; or never."""

    def __init__(self, dies=True):
        super().__init__()
        KillAtEnd.dies = dies

    def on_train_end(self, logs=None):
        if KillAtEnd.dies:
            raise Killed


@pytest.mark.parametrize(
    "kind",
    [
        "stop",
        pytest.param("stop, best weights", marks=pytest.mark.backends),
        "averaged weights",
    ],
)
def test_a_window_that_ended_is_not_trained_on(folder, tmp_path, kind):
    whole, report = run_with(kind, folder)
    place = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run_with(kind, folder, KillAtEnd(), checkpoint=place)
    (path,) = place.iterdir()
    content = json.loads((path / "state.json").read_text())
    epochs = json.loads(content["state"])["epoch"]
    assert epochs == 6 if kind == "averaged weights" else 0 < epochs < 6
    resumed, again = run_with(kind, folder, KillAtEnd(False), checkpoint=place)
    assert again.rows == report.rows
    same(whole, resumed)


def test_other_callbacks_than_the_checkpoints_are_refused(folder, tmp_path):
    place = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run_with("stop", folder, KillAt(14), checkpoint=place)
    with pytest.raises(ValueError, match="Callback 1 is a ReduceLROnPlateau, but the"):
        run_with("reduce", folder, KillAt(), checkpoint=place)


def test_a_checkpoint_of_another_model_is_refused(folder, tmp_path):
    run(folder, checkpoint=tmp_path / "checkpoint")
    other = make_model()
    other.compile(keras.optimizers.SGD(1e-2), metrics=[t4r.metrics.NDCG(5)])
    with pytest.raises(ValueError, match="of another run: its optimizer"):
        run(folder, other, checkpoint=tmp_path / "checkpoint")


def test_reports_come_back_from_their_file(folder, tmp_path):
    _, report = run(folder)
    report.save(tmp_path / "report.json")
    assert t4r.WindowReport.load(tmp_path / "report.json").rows == report.rows


@pytest.mark.parametrize(
    "sessions, message",
    [
        (None, "Window 3 has no file"),
        ([], "3/sessions.parquet cannot be evaluated on"),
        ([[5], [6]], "3/sessions.parquet cannot be evaluated on"),
    ],
)
def test_a_bad_last_window_is_found_before_the_first_is_fit(folder, sessions, message):
    path = folder / "3" / "sessions.parquet"
    path.unlink()
    if sessions is not None:
        lists = pa.array(sessions, pa.list_(pa.int32()))
        pq.write_table(pa.table({"item_id": lists}), path)
    model = make_model()
    before = model.get_weights()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(folder, model, windows=["1", "2", "3"])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder of sessions"):
        t4r.fit_windows(make_model(), tmp_path / "no", schema=SCHEMA)
    with pytest.raises(ValueError, match="two are needed"):
        run(folder, windows=["1"])
    with pytest.raises(FileNotFoundError, match="Window 9 has no file"):
        run(folder, windows=["1", "9"])
    for seed in (None, "a", 1.5):
        with pytest.raises(TypeError, match=r"seed is .*should be a whole number"):
            run(folder, seed=seed)
    model = make_model()
    model.compile("adam")
    with pytest.raises(ValueError, match="no ranking metrics"):
        run(folder, model)
