"""Files that a stranger made, with right digests: nothing runs, nothing is read."""

import contextlib
import hashlib
import json
import os
import shutil
import zipfile

import keras
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
    """Objects that would leave a trace if they were made."""
    code = {"class_name": "function", "config": "system", "module": "os"}
    return {
        "class": {
            "module": "subprocess",
            "class_name": "Popen",
            "config": {"args": ["touch", str(trace)]},
            "registered_name": "Popen",
        },
        "function": {**code, "registered_name": "function"},
        "lambda": {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {
                "function": {"class_name": "__lambda__", "config": {"code": ""}}
            },
            "registered_name": None,
        },
    }


@pytest.mark.parametrize("what", ["class", "function", "lambda"])
@pytest.mark.parametrize("where", ["layer", "body", "loss", "scheme"])
def test_a_model_file_makes_no_object_that_is_not_a_layers(
    written, tmp_path, what, where
):
    path, trace = tmp_path / "model.keras", tmp_path / "trace"
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 1}
    schema = t4r.Schema.load(written / "schema.pbtxt")
    make_model(schema, t4r.TransformerBlock(config)).save(path)
    evil = foreign(trace)[what]

    def change(config):
        if where == "layer":
            config["config"]["layers"][-1].update(evil)
        elif where == "body":
            layer(config, "TransformerBlock")["config"]["config"] = evil
        elif where == "loss":
            layer(config, "NextItemHead")["config"]["loss"] = evil
        else:
            layer(config, "CausalLanguageModeling").update(evil)

    change_model(path, change)
    with pytest.raises((ValueError, TypeError)):
        keras.models.load_model(path)
    assert not trace.exists()


def test_a_model_files_vocabulary_is_read_from_its_own_assets(written, tmp_path):
    path = tmp_path / "model.keras"
    make_model(t4r.Schema.load(written / "schema.pbtxt")).save(path)

    def change(config):
        found = layer(config, "SequenceEmbeddingFeatures")["config"]
        print_ = hashlib.sha256(b"secret").hexdigest()
        schema = found["schema"].replace('"i"', '"../../secret"')
        found.update(schema=schema, vocabularies={"../../secret": print_})

    change_model(path, change)
    with pytest.raises((ValueError, TypeError, KeyError)):
        keras.models.load_model(path)


@pytest.mark.filterwarnings("ignore:Skipping invalid path:UserWarning")
def test_a_model_file_writes_nothing_outside(written, tmp_path):
    path = tmp_path / "deep" / "model.keras"
    path.parent.mkdir()
    make_model(t4r.Schema.load(written / "schema.pbtxt")).save(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../../outside.txt", "stranger")
        file.writestr("assets/../../../outside.txt", "stranger")
    before = set(tmp_path.rglob("*"))
    with contextlib.suppress(ValueError, OSError):
        keras.models.load_model(path)
    assert set(tmp_path.rglob("*")) == before
    assert not os.path.exists("outside.txt")
