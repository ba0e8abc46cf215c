"""One rule for paths, whatever reads or writes there."""

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_t4r as t4r
from keras_t4r.bodies import load_hf_body
from keras_t4r.files import as_path

ITEM = t4r.ColumnSchema(
    "item", tags=("item_id",), domain=t4r.Domain(2, 9), value_count=(1, 8)
)
VECTOR = t4r.ColumnSchema(
    "v", "float32", ("embedding",), value_count=(1, 8), event_count=(2, 2)
)
SCHEMA = t4r.Schema((ITEM,))
TABLE = {"item": [[3, 4], [5]]}


@pytest.fixture(scope="module")
def model():
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=4)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item"])
    return t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))


@pytest.fixture(autouse=True)
def fresh_session():
    """The model is made once."""


def read_vectors(path):
    schema = t4r.Schema((ITEM, VECTOR))
    t4r.KerasSequenceLoader(TABLE, schema, 1, vectors={"v": ("item", path)})


USES = {
    "as_path": lambda path, model: as_path(path, "x"),
    "read": lambda path, model: t4r.Schema.load(path),
    "write": lambda path, model: SCHEMA.save(path),
    "clicks": lambda path, model: t4r.ClickLog(path),
    "sessions": lambda path, model: t4r.KerasSequenceLoader(path, SCHEMA, 1),
    "one of several": lambda path, model: t4r.KerasSequenceLoader([path], SCHEMA, 1),
    "looked up": lambda path, model: read_vectors(path),
    "vectors": lambda path, model: t4r.PretrainedEmbedding(path),
    "weights": lambda path, model: model.save_weights(path),
    "loaded": lambda path, model: model.load_weights(path),
    "model": lambda path, model: model.save(path),
    "export": lambda path, model: t4r.export_saved_model(model, path, k=3),
    "checkpoint": lambda path, model: load_hf_body(path),
}
NO_PATHS = {
    "": "is empty text",
    "a\0b.keras": "holds a null character",
    "n" * 300: r"is too long, n{20}…: a name has up to 255 bytes",
    "ä" * 130: "is too long, ä{20}…",
    "/".join(["folder"] * 700): "is too long, folder…: .* a path 4095",
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("path", NO_PATHS, ids=lambda path: ascii(path[:9]))
def test_what_can_be_no_path_is_told_so(use, path, model):
    with pytest.raises(ValueError, match=f"The path of .* {NO_PATHS[path]}"):
        USES[use](path, model)


@pytest.mark.parametrize("use", ["weights", "loaded", "model", "export", "checkpoint"])
@pytest.mark.parametrize("path", [None, 5, b"model.keras", ["a"]])
def test_what_is_no_path_is_told_so(use, path, model):
    with pytest.raises(TypeError, match=r"The path of .* it should be text or a path"):
        USES[use](path, model)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, model):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    SCHEMA.save("~/schema.pbtxt")
    assert t4r.Schema.load(Path("~/schema.pbtxt")).names == ["item"]
    (tmp_path / "clicks.csv").write_text("s,t,i\na,1,7\na,2,8\n")
    assert t4r.ClickLog("~/*.csv").rows() == 2
    etl = t4r.SessionETL("s", "t", "i", time_unit="s")
    etl.write("~/clicks.csv", "~/sessions", progress=False)
    assert len(t4r.KerasSequenceLoader("~/sessions/1", etl.schema, 1)) == 1
    np.save(tmp_path / "v.npy", np.ones((10, 2), "float32"))
    read_vectors("~/v.npy")
    assert not list(folder.iterdir())
    # Keras's own, which reads and writes there by itself.
    (folder / "~").mkdir()
    model.save("~/model.keras")
    assert keras.saving.load_model("~/model.keras").name == model.name
    model.save_weights("~/model.weights.h5")
    model.load_weights("~/model.weights.h5")
    assert len(list((folder / "~").iterdir())) == 2


def test_a_name_may_be_as_long_as_the_system_lets_it(tmp_path):
    for name in ("n" * 255, "ä" * 127):
        SCHEMA.save(tmp_path / name)
        assert t4r.Schema.load(tmp_path / name).names == ["item"]
