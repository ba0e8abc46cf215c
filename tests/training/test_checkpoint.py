"""A checkpoint belongs to its run: it goes on there, and nowhere else."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seeds import set_seed

import keras_t4r as t4r
from keras_t4r.files.parquet import write_parquet
from keras_t4r.schema.encoded_ids import mark_encoded
from keras_t4r.training.baselines import Markov, Popularity
from keras_t4r.training.callback_state import (
    arguments_of,
    check_states,
    set_states,
    states_of,
)
from keras_t4r.training.checkpoint import Checkpoint
from keras_t4r.training.window_files import WindowFiles, numbered_windows

ITEMS = 12
SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, ITEMS + 1),
            value_count=(1, 6),
        ),
    )
)


def write_windows(folder, seed=0):
    rng = np.random.default_rng(seed)
    for window in (1, 2, 3):
        lists = [rng.integers(2, ITEMS + 2, 4).tolist() for _ in range(12)]
        (folder / str(window)).mkdir(parents=True)
        for name in ("sessions", "valid"):
            write_sessions(lists, folder / str(window) / f"{name}.parquet")
    SCHEMA.save(folder / "schema.pbtxt")
    return folder


def write_sessions(lists, path):
    write_parquet(pa.table({"item_id": pa.array(lists, pa.list_(pa.int32()))}), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_windows(tmp_path_factory.mktemp("log") / "sessions")


def make_model(activation=None, optimizer="adam", **how):
    set_seed(1)
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    x = keras.layers.Dense(4, activation)(x)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    eager = keras.backend.backend() == "tensorflow"
    how = {"metrics": [t4r.metrics.NDCG(5)], "run_eagerly": eager, **how}
    model.compile(optimizer, **how)
    return model


def run(folder, place, model=None, **arguments):
    options = {"epochs": 1, "batch_size": 4, "verbose": False, **arguments}
    model = model or make_model()
    return t4r.fit_windows(model, folder, checkpoint=place, **options)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("run") / "checkpoint"
    return place, run(folder, place)


@pytest.fixture
def place(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "checkpoint")


def test_the_same_run_has_its_report_again(folder, finished, place, tmp_path):
    assert run(folder, place).rows == finished[1].rows
    # Wherever its files lie.
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert run(moved, place).rows == finished[1].rows


@pytest.mark.parametrize(
    "change",
    [
        dict(seed=1),
        dict(batch_size=5),
        dict(epochs=2),
        dict(windows=["1", "2"]),
        dict(windows=["1", "3"]),
        dict(train="valid"),
        dict(evaluate="valid"),
        dict(replay=1),
        dict(max_length=4),
        dict(baselines={"popular": Popularity(SCHEMA)}),
        dict(
            schema=t4r.Schema(
                [dataclasses.replace(SCHEMA["item_id"], value_count=(1, 5))]
            )
        ),
        dict(callbacks=lambda window: []),
    ],
    ids=lambda change: "-".join(change),
)
def test_another_run_is_refused(folder, place, change):
    (name,) = change
    with pytest.raises(
        ValueError, match=rf"of another run: its {name}\b.* was .*, and is "
    ):
        run(folder, place, **change)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            dict(activation="relu"),
            r"model\.config\.layers\[\d+\]\.config\.activation was 'linear', and is 'r",
        ),
        (dict(optimizer="sgd"), r"optimizer\.class_name was 'Adam', and is 'SGD'"),
        (
            dict(optimizer=keras.optimizers.Adam(0.01)),
            r"optimizer\.config\.learning_rate was 0\.001, and is 0\.01 now",
        ),
        (
            dict(optimizer=t4r.optimizers.RowSparseAdam(0.001)),
            r"optimizer\.class_name was 'Adam', and is 'RowSparseAdam'",
        ),
        (
            dict(optimizer=keras.optimizers.Adam(clipnorm=1.0)),
            r"optimizer\.config\.clipnorm was None, and is 1\.0",
        ),
        (dict(loss_weights=2.0), r"loss_weights was None, and is 2\.0"),
        (
            dict(metrics=[t4r.metrics.NDCG(3)]),
            r"metrics\[0\]\.config\..* was .*, and is",
        ),
        (dict(weighted_metrics=[t4r.metrics.MRR(3)]), "weighted_metrics was None"),
    ],
    ids=lambda change: "-".join(change) if isinstance(change, dict) else "",
)
def test_a_run_of_another_model_is_refused(folder, place, change, what):
    model = make_model(**change)
    with pytest.raises(ValueError, match=f"of another run: its {what}"):
        run(folder, place, model)


def test_a_run_with_other_baselines_is_refused(folder, tmp_path):
    def go(baseline):
        return run(folder, tmp_path / "run", baselines={"count": baseline})

    used = Markov(SCHEMA, span=np.int64(2))
    rows = go(used).rows
    assert go(Markov(SCHEMA, span=2)).rows == rows
    for other, what in (
        (Markov(SCHEMA, span=3), r"span was 2, and is 3 now"),
        (Markov(SCHEMA, span=2, half_life=4), r"half_life was None, and is 4\.0 now"),
        (Popularity(SCHEMA), "class_name was 'Markov', and is 'Popularity' now"),
    ):
        with pytest.raises(ValueError, match=rf"its baselines\.count\.{what}"):
            go(other)
    # It would learn the windows again.
    with pytest.raises(ValueError, match="'count' has learned 2 window"):
        go(used)


def test_a_run_that_is_done_has_its_callbacks(folder, place):
    stop = keras.callbacks.EarlyStopping("loss")
    with pytest.raises(ValueError, match="written with 0 callbacks, and here are 1"):
        run(folder, place, callbacks=[stop])


class Falls(keras.callbacks.Callback):
    """Lowers the learning rate before each epoch; stops before the last, once."""

    left = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate.assign(0.01 / (epoch + 2))
        Falls.left -= 1
        if not Falls.left:
            raise KeyboardInterrupt


@pytest.mark.backends
def test_a_learning_rate_may_have_changed_in_the_run(folder, tmp_path):
    def make():
        return make_model(optimizer=keras.optimizers.Adam(0.01))

    options = {"epochs": 2, "windows": [1, 2], "callbacks": [Falls()]}
    model, Falls.left = make(), 2
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path, model, **options)
    # A fault on the way does not cost the run.
    with pytest.raises(ValueError, match="its seed was 0, and is 1 now"):
        run(folder, tmp_path, model, seed=1, **options)
    rows = run(folder, tmp_path, model, **options).rows
    assert run(folder, tmp_path, model, **options).rows == rows
    assert run(folder, tmp_path, make(), **options).rows == rows
    model.optimizer.learning_rate.assign(0.5)
    with pytest.raises(ValueError, match=r"learning_rate was 0\.01, and is 0\.5 now"):
        run(folder, tmp_path, model, **options)


def test_a_place_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "in it"):
        with pytest.raises(NotADirectoryError, match="file is a file: name a folder"):
            Checkpoint(path)
    for path, error in (("", ValueError), (True, TypeError), (5, TypeError)):
        with pytest.raises(error, match="The path of checkpoints is"):
            Checkpoint(path)
    assert Checkpoint(tmp_path, {"seed": np.int64(3)}).run == {"seed": 3}
    with pytest.raises(TypeError, match=r"holds PosixPath.* it should hold numbers"):
        Checkpoint(tmp_path, {"seed": tmp_path})


def test_a_run_over_other_files_is_refused(place, tmp_path):
    others = write_windows(tmp_path / "others", seed=5)
    with pytest.raises(ValueError, match="of another run: its files"):
        run(others, place)


def test_a_run_over_sessions_in_another_order_is_refused(folder, place, tmp_path):
    """Files of the same size, with the same least and largest values."""
    others = shutil.copytree(folder, tmp_path / "others")
    path = others / "2" / "sessions.parquet"
    size, lists = path.stat().st_size, pq.read_table(path)["item_id"].to_pylist()
    lists[5][1:3] = lists[5][2:0:-1]
    write_sessions(lists, path)
    assert path.stat().st_size == size
    with pytest.raises(ValueError, match=r"its files\['2, fitted on'\] was"):
        run(others, place)


def test_a_window_is_not_evaluated_on_after_it_was_fit_on(folder, tmp_path):
    for windows in (["1", "1"], [1, 2, "1"]):
        with pytest.raises(ValueError, match="Window 1 stands twice"):
            run(folder, None, windows=windows)
    for windows, which in (
        (["3", "2", "1"], "2 comes after window 3"),
        ([1, 3, 2], "2 comes after window 3"),
        (["1", "01"], "01 comes after window 1"),
    ):
        with pytest.raises(ValueError, match=f"Window {which} .* its number is no hig"):
            run(folder, None, windows=windows)
    folder = shutil.copytree(folder, tmp_path / "sessions")
    (folder / "again").symlink_to(folder / "1")
    with pytest.raises(ValueError, match="windows 1 and again are one folder"):
        run(folder, None, windows=["1", "again"])
    path = folder / "2" / "sessions.parquet"
    for make in (path.symlink_to, path.hardlink_to):
        path.unlink()
        make(folder / "1" / "sessions.parquet")
        with pytest.raises(ValueError, match=r"2/sessions\.parquet is the same file"):
            run(folder, None)
    # What only looks like a number is no window.
    (folder / "²").mkdir()
    assert numbered_windows(folder) == ["1", "2", "3"]


def test_windows_are_in_the_order_of_their_times(tmp_path):
    def write(name, **columns):
        (tmp_path / name).mkdir(exist_ok=True)
        table = mark_encoded(pa.table(columns), {"item_id": "1f"})
        write_parquet(table, tmp_path / name / "a.parquet")

    def begin(**days):
        for name, (first, last) in days.items():
            write(name, start=pa.array([first, last, first], pa.timestamp("us")))

    def check(*windows):
        WindowFiles(tmp_path, windows, "a", "a").check_order()

    begin(mon=(0, 9), tue=(10, 19), wed=(20, 29), late=(15, 25))
    check("mon", "tue", "wed")
    # Sessions may begin in one window and be filed in the next.
    check("mon", "late", "tue")
    for windows in (["tue", "mon"], ["mon", "wed", "tue"]):
        last = windows[-1]
        with pytest.raises(ValueError, match=f"Window {last} comes after window "):
            check(*windows)
    # Where files do not say, they are in the order that they are named in.
    write("mon", start=[5])
    check("tue", "mon")
    write("mon", i=[5])
    check("tue", "mon")


def test_a_column_of_others_that_is_called_start_orders_no_windows(tmp_path):
    for name, start in (("mon", 20), ("tue", 10)):
        (tmp_path / name).mkdir()
        table = pa.table({"start": pa.array([start], pa.timestamp("us"))})
        write_parquet(table, tmp_path / name / "a.parquet")
    WindowFiles(tmp_path, ("mon", "tue"), "a", "a").check_order()


DAMAGE = {
    "no state": lambda path: (path / "state.json").unlink(),
    "empty state": lambda path: (path / "state.json").write_text("{}"),
    "no json": lambda path: (path / "state.json").write_text("{"),
    "a list": lambda path: (path / "state.json").write_text("[]"),
    "other state": lambda path: (path / "state.json").write_text(
        (path / "state.json").read_text().replace("epoch", "epoche")
    ),
    "no variables": lambda path: (path / "variables.npz").unlink(),
    "cut variables": lambda path: (path / "variables.npz").write_bytes(
        (path / "variables.npz").read_bytes()[:-50]
    ),
    "a flipped bit": lambda path: flip(path / "variables.npz"),
    "a pickle": lambda path: np.savez(
        path / "variables.npz", a=np.array([print], object)
    ),
}


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_gets_one_sentence(folder, place, damage):
    (path,) = place.iterdir()
    DAMAGE[damage](path)
    with pytest.raises(ValueError, match="is damaged, or no checkpoint") as error:
        run(folder, place)
    assert str(path) in str(error.value)


def test_a_model_is_as_it_was_where_a_checkpoint_is_refused(place):
    model = make_model()
    before = model.get_weights()
    with pytest.raises(ValueError, match="of another run"):
        Checkpoint(place, {"seed": 7}).restore(model)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_runs_do_not_share_a_folder(folder, place):
    with (
        Checkpoint(place).held(),
        pytest.raises(BlockingIOError, match="Another run uses the checkpoint folder"),
    ):
        run(folder, place)
    run(folder, place)


def give(callback, **attributes):
    """Sets a callback's attributes, as a file of a stranger's would."""
    set_states([callback], [{"attributes": attributes}])


def test_a_file_gives_a_callback_values_and_no_methods():
    callback = keras.callbacks.EarlyStopping("loss")
    evil = {"keras.ops": "abs"}
    inside = {"dict": [["on_epoch_end", evil]]}
    give(callback, wait=3, on_epoch_end=evil, __dict__=inside, _model=7)
    assert callback.wait == 3 and callback._model is None
    assert callback.on_epoch_end.__func__ is keras.callbacks.EarlyStopping.on_epoch_end
    with pytest.raises(ValueError, match="no function '__loader__'"):
        give(callback, monitor_op={"keras.ops": "__loader__"})


@pytest.mark.parametrize(
    "path", ["/tmp/evil.keras", "../evil", "~/evil", "gs://evil/x", "{epoch:/>2}tmp/x"]
)
def test_a_file_does_not_say_where_a_callback_writes(path):
    callback = keras.callbacks.ModelCheckpoint("best.keras")
    for value in (path, "train.py", {"scalar": np.array(path)}):
        give(callback, filepath=value, best=0.5)
    assert callback.filepath == "best.keras" and callback.best == 0.5
    board = keras.callbacks.TensorBoard("logs")
    give(board, _train_dir=path)
    assert not hasattr(board, "_train_dir") or board._train_dir != path


def test_the_same_callbacks_and_other_paths_resume():
    def made(**arguments):
        return keras.callbacks.ReduceLROnPlateau("loss", **arguments)

    def check(new, old, arguments):
        check_states([new], states_of([old], [arguments]), [arguments_of(new)])

    old = made()
    arguments = arguments_of(old)
    # Keras turns its `min_delta` around.
    old.on_train_begin()
    check(old, old, arguments)
    check(made(verbose=1), old, arguments)
    with pytest.raises(ValueError, match=r"made with factor=0\.1 .* has 0\.5 now"):
        check(made(factor=0.5), old, arguments)
    kept = keras.callbacks.ModelCheckpoint("/old/best.keras")
    check(keras.callbacks.ModelCheckpoint("new/best.keras"), kept, arguments_of(kept))


class Stops(keras.callbacks.Callback):
    """Ends the process, as it were, after an epoch."""

    def __init__(self, window, epoch):
        super().__init__()
        self.window, self.epoch = window, epoch
        self.windows = -1

    def on_train_begin(self, logs=None):
        self.windows += 1

    def on_epoch_end(self, epoch, logs=None):
        if (self.windows, epoch) == (self.window, self.epoch):
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ("patience", (0, 1)),
        ("monitor", (1, 0)),
        ("more", (0, 1)),
        ("more", (1, 0)),
        ("fewer", (1, 0)),
        ("kind", (0, 1)),
    ],
)
def test_a_run_goes_on_with_the_callbacks_that_it_had(folder, tmp_path, at, change):
    def stopping(**arguments):
        return keras.callbacks.EarlyStopping(**{"monitor": "loss", **arguments})

    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path, epochs=2, callbacks=[stopping(patience=5), Stops(*at)])
    never = Stops(*at)
    never.window = 9
    others = {
        "patience": [stopping(patience=7), never],
        "monitor": [stopping(patience=5, monitor="val_loss"), never],
        "more": [stopping(patience=5), never, stopping()],
        "fewer": [stopping(patience=5)],
        "kind": [keras.callbacks.ReduceLROnPlateau("loss"), never],
    }
    found = {
        "patience": "was made with patience=5 .* and has 7 now",
        "monitor": "was made with monitor='loss' .* and has 'val_loss' now",
        "more": "written with 2 callbacks, and here are 3",
        "fewer": "written with 2 callbacks, and here are 1",
        "kind": "Callback 1 is a ReduceLROnPlateau",
    }
    with pytest.raises(ValueError, match=found[change]):
        run(folder, tmp_path, epochs=2, callbacks=others[change])


def test_the_state_is_readable_json(place):
    (path,) = place.iterdir()
    content = json.loads((path / "state.json").read_text())
    assert content["format"] == "keras_t4r.Checkpoint/4"
    assert content["run"]["windows"] == ["1", "2", "3"]
