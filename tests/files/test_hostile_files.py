"""Files that a stranger made, with right digests: nothing runs, nothing is read."""

import contextlib
import json
import shutil
import tempfile
import zipfile

import keras
import numpy as np
import pytest

import keras_t4r as t4r
from keras_t4r.data.etl.state import _digest
from keras_t4r.files.parquet import read_parquet, write_parquet

CLICKS = {
    "s": [1, 1, 1, 2, 2],
    "t": [10, 11, 12, 13, 14],
    "i": ["a", "b", "a", "b", "c"],
    "x": [1.0, 2.0, 3.0, 4.0, 5.0],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "sessions"
    etl = t4r.SessionETL("s", "t", "i", continuous=["x"], time_unit="s")
    etl.write(CLICKS, folder, progress=False)
    return folder


@pytest.fixture
def place(written, tmp_path):
    return shutil.copytree(written, tmp_path / "sessions")


def change_workflow(folder, change):
    """Changes a workflow's state and signs it anew, as its author could."""
    path = folder / "workflow" / "etl.json"
    content = json.loads(path.read_text())
    change(content)
    kept = {k: v for k, v in content.items() if k not in ("format", "digest")}
    path.write_text(json.dumps({**content, "digest": _digest(kept)}))


WORKFLOWS = {
    "item outside": lambda c: c["config"].update(item="../../secret"),
    "item absolute": lambda c: c["config"].update(item="/etc/passwd"),
    "category outside": lambda c: c["config"].update(categorical=["../../secret"]),
    "an argument more": lambda c: c["config"].update(command="touch"),
    "an argument less": lambda c: c["config"].pop("item"),
    "no config": lambda c: c.pop("config"),
    "config is text": lambda c: c.update(config="os.system"),
    "no kinds": lambda c: c.pop("kinds"),
    "kinds of a list": lambda c: c.update(kinds=["int64"]),
    "kinds of another column": lambda c: c["kinds"].pop("x"),
    "a kind of its own": lambda c: c["kinds"].update(x="object"),
    "origin is text": lambda c: c.update(origin="0"),
    "origin of no time": lambda c: c.update(origin=10**30),
    "moments of text": lambda c: c["moments"].update(x="ab"),
    "moments missing": lambda c: c["moments"].clear(),
    "moments of three": lambda c: c["moments"].update(x=[1, 2, 3]),
    "moments of nothing": lambda c: c["moments"].update(x=[float("nan"), 1.0]),
    "deviation 0": lambda c: c["moments"].update(x=[0.0, 0.0]),
    "a switch of text": lambda c: c["config"].update(recency="no"),
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_of_a_strangers_gets_one_sentence(place, name):
    shutil.copy(place / "workflow" / "i.parquet", place.parent / "secret.parquet")
    change_workflow(place, WORKFLOWS[name])
    with pytest.raises((ValueError, TypeError)) as error:
        t4r.SessionETL.load(place / "workflow")
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_a_vocabulary_that_lacks_its_times_gets_one_sentence(place):
    path = place / "workflow" / "i.parquet"
    write_parquet(read_parquet(path, "").drop_columns(["first_time"]), path)
    with pytest.raises(ValueError, match=r"i\.parquet lacks the items' first times"):
        t4r.SessionETL.load(place / "workflow")


def make_model(schema, body=None):
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, d_output=8, embedding_dim=8)(
        inputs
    )
    x, targets = t4r.CausalLanguageModeling()(x, inputs["i"])
    x = (body or keras.layers.Dense(8, name="body"))(x)
    return t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))


def change_model(path, change):
    """Changes the config in a `.keras` file."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in {**parts, "config.json": json.dumps(config)}.items():
            file.writestr(name, data)


def layer(config, kind):
    layers = config["config"]["layers"]
    return next(x for x in layers if x["class_name"] == kind)


def foreign(trace):
    """Objects that a file of a model has no business to name."""

    place = str(trace)
    code = keras.layers.Lambda(
        lambda x: (open(place, "w").close(), x)[1],
        output_shape=lambda shape: shape,
    )
    return {
        "class": {
            "module": "subprocess",
            "class_name": "Popen",
            "config": {"args": ["touch", str(trace)]},
            "registered_name": "Popen",
        },
        "function": {
            "module": "os",
            "class_name": "function",
            "config": "system",
            "registered_name": "function",
        },
        "lambda": keras.saving.serialize_keras_object(code),
    }


def put(evil, where):
    """A change of a config that puts an object in some place of a model."""

    def change(config):
        if where == "layer":
            layer(config, "Dense").update(evil)
        elif where == "body":
            layer(config, "TransformerBlock")["config"]["config"] = evil
        elif where == "loss":
            layer(config, "NextItemHead")["config"]["loss"] = evil
        else:
            layer(config, "CausalLanguageModeling").update(evil)

    return change


@pytest.fixture
def saved(written, tmp_path):
    path = tmp_path / "model.keras"
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 1}
    dense, block = keras.layers.Dense(8), t4r.TransformerBlock(config)
    schema = t4r.Schema.load(written / "schema.pbtxt")
    make_model(schema, lambda x: block(dense(x))).save(path)
    return path


@pytest.mark.parametrize("what", ["class", "function", "lambda"])
@pytest.mark.parametrize("where", ["layer", "body", "loss", "scheme"])
def test_a_model_file_makes_no_object_that_is_not_a_layers(
    saved, tmp_path, what, where
):
    trace = tmp_path / "trace"
    change_model(saved, put(foreign(trace)[what], where))
    message = "deserializ" if what != "lambda" else "deserializ|Lambda"
    with pytest.raises((ValueError, TypeError), match=message):
        keras.models.load_model(saved)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_code_of_a_strangers_does_run_for_who_asks_for_it(saved, tmp_path):
    """So what is refused above is a real attack."""
    trace = tmp_path / "trace"
    change_model(saved, put(foreign(trace)["lambda"], "layer"))
    model = keras.models.load_model(saved, safe_mode=False)
    model({x.name: np.ones((1, 2), x.dtype) for x in model.inputs})
    assert trace.exists()


def test_a_vocabulary_is_read_from_a_models_own_assets(written, tmp_path):
    schema = t4r.Schema.load(written / "schema.pbtxt")
    config = t4r.SequenceEmbeddingFeatures(schema).get_config()
    # A true one lies where the config leads, and is the one that it asks for.
    secret = schema.vocabulary("i")
    secret.save(tmp_path / "secret.parquet")
    inside = tmp_path / "inside"
    inside.mkdir()
    config["schema"] = config["schema"].replace('"i"', '"../secret"')
    config["vocabularies"] = {"../secret": secret.fingerprint}
    evil = t4r.SequenceEmbeddingFeatures.from_config(config)
    with pytest.raises(ValueError, match="cannot name the file of a vocabulary"):
        evil.load_assets(str(inside))


@pytest.mark.filterwarnings("ignore:Skipping invalid path:UserWarning")
def test_a_model_file_writes_nothing_outside(written, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    make_model(t4r.Schema.load(written / "schema.pbtxt")).save(path)
    # Where Keras unpacks it.
    unpacked = tmp_path / "a" / "b" / "c"
    unpacked.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(unpacked))
    with zipfile.ZipFile(path, "a") as file:
        for place in (
            "../outside.txt",
            "../../outside.txt",
            "assets/../../outside.txt",
        ):
            file.writestr(place, "stranger")
    # Keras refuses such a file; 3.12 stumbles over the sentence that says so.
    with contextlib.suppress(ValueError, OSError, AttributeError):
        keras.models.load_model(path)
    assert not list(tmp_path.rglob("outside.txt"))
