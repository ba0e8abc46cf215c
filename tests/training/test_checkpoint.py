"""A checkpoint belongs to its run: it goes on there, and nowhere else."""

import json
import shutil

import keras
import numpy as np
import pyarrow as pa
import pytest
from seeds import set_seed

import keras_t4r as t4r
from keras_t4r.files.parquet import write_parquet
from keras_t4r.training.callback_state import (
    arguments_of,
    check_states,
    set_states,
    states_of,
)
from keras_t4r.training.checkpoint import Checkpoint

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
        table = pa.table({"item_id": pa.array(lists, pa.list_(pa.int32()))})
        for name in ("sessions", "valid"):
            write_parquet(table, folder / str(window) / f"{name}.parquet")
    SCHEMA.save(folder / "schema.pbtxt")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_windows(tmp_path_factory.mktemp("log") / "sessions")


def make_model():
    set_seed(1)
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    x = keras.layers.Dense(4)(x)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    eager = keras.backend.backend() == "tensorflow"
    model.compile("adam", metrics=[t4r.metrics.NDCG(5)], run_eagerly=eager)
    return model


def run(folder, place, **arguments):
    options = {"epochs": 1, "batch_size": 4, "verbose": False, **arguments}
    return t4r.fit_windows(make_model(), folder, checkpoint=place, **options)


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
        dict(baselines={"popular": t4r.training.baselines.Popularity(SCHEMA)}),
    ],
    ids=lambda change: "-".join(change),
)
def test_another_run_is_refused(folder, place, change):
    (name,) = change
    with pytest.raises(ValueError, match=f"of another run: its {name} was"):
        run(folder, place, **change)


def test_a_run_over_other_files_is_refused(place, tmp_path):
    others = write_windows(tmp_path / "others", seed=5)
    with pytest.raises(ValueError, match="of another run: its files"):
        run(others, place)


def test_a_window_is_not_evaluated_on_after_it_was_fit_on(folder):
    with pytest.raises(ValueError, match="Window 1 stands twice"):
        run(folder, None, windows=["1", "1"])
    with pytest.raises(ValueError, match="Window 1 stands twice"):
        run(folder, None, windows=[1, 2, "1"])


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


@pytest.mark.parametrize("at", [(0, 1), (1, 0)], ids=["in a window", "between windows"])
@pytest.mark.parametrize("change", ["patience", "monitor", "more", "fewer", "kind"])
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
    assert content["format"] == "keras_t4r.Checkpoint/2"
    assert content["run"]["windows"] == ["1", "2", "3"]
