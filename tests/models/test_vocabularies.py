"""A model keeps its vocabularies through configs, clones, weights and files."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import keras_t4r as t4r

RAW = [f"item-{i}" for i in range(1, 41)]
SESSIONS = {"item_id": [["item-3", "item-7"], ["item-1", "never seen", "item-40"]]}
pytestmark = pytest.mark.backends


@pytest.fixture
def model(build, tmp_path):
    schema = t4r.Schema((build.schema["item_id"],))
    schema.save(tmp_path / "schema.pbtxt")
    t4r.Vocabulary(RAW).save(tmp_path / "vocabularies" / "item.parquet")
    schema = t4r.Schema.load(tmp_path / "schema.pbtxt")
    return build.model("clm", "gpt2", schema=schema)


def assert_same_answers(one, two):
    a, b = (m.recommend(SESSIONS, k=5) for m in (one, two))
    assert a["item_id"].tolist() == b["item_id"].tolist()
    assert set(a["item_id"].ravel()) <= set(RAW)


def test_a_model_made_from_a_config_answers_in_raw_ids(model):
    twin = t4r.SessionModel.from_config(json.loads(json.dumps(model.get_config())))
    twin.set_weights(model.get_weights())
    assert_same_answers(model, twin)


def test_a_clone_answers_in_raw_ids(model):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert_same_answers(model, clone)


def test_the_config_holds_a_fingerprint_and_no_values(model):
    text = json.dumps(model.get_config())
    assert model.features.vocabulary("item_id").fingerprint in text
    assert "item-3" not in text


def test_vocabularies_may_be_given_and_must_fit_the_schema(build):
    item = build.schema["item_id"]
    schema = t4r.Schema((item, build.schema["age"]))
    values = t4r.Vocabulary(RAW)
    features = t4r.SequenceEmbeddingFeatures(schema, vocabularies={"item_id": values})
    assert features.vocabulary("item_id") is values
    for name, vocabulary, sentence in [
        ("item_id", t4r.Vocabulary(RAW[:-1]), "ids 2 to 40, the schema has 2 to 41"),
        ("item_id", t4r.Vocabulary(RAW, first_id=1), "ids 1 to 40"),
        ("age", values, "'age' has no ids"),
        ("price", values, "no column 'price'"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            t4r.SequenceEmbeddingFeatures(schema, vocabularies={name: vocabulary})


def in_another_process(code, *arguments):
    # As in conftest: PyTorch's GPU compiler does not stand TensorFlow beside it.
    start = "import sys; sys.modules.setdefault('triton', None)\n"
    start += "import keras, json, keras_t4r as t4r\n"
    run = subprocess.run(
        [sys.executable, "-c", start + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.backends("torch")
def test_another_process_knows_what_it_lacks_until_it_has_it(model, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(model.get_config()))
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.keras")
    told, read, loaded = in_another_process(
        """
folder = sys.argv[1]
model = t4r.SessionModel.from_config(json.load(open(folder + "/config.json")))
model.load_weights(folder + "/model.weights.h5")
sessions = json.loads(sys.argv[2])
said = []
for ask in (
    lambda: model.recommend(sessions, k=5),
    lambda: model.decode([2]),
    lambda: model.save(folder + "/again.keras"),
):
    try:
        ask()
        said.append("nothing")
    except ValueError as error:
        said.append(str(error))
again = t4r.SessionModel.from_config(model.get_config())
again.load_weights(folder + "/model.weights.h5")
kept = t4r.Vocabulary.load(folder + "/vocabularies/item.parquet")
one = again.recommend(sessions, k=5)["item_id"].tolist()
two = keras.saving.load_model(folder + "/model.keras")
print(json.dumps([said, one, two.recommend(sessions, k=5)["item_id"].tolist()]))
""",
        tmp_path,
        json.dumps(SESSIONS),
    )
    for sentence in told:
        assert "The vocabulary of column 'item_id' is not here" in sentence
    assert read == loaded == model.recommend(SESSIONS, k=5)["item_id"].tolist()


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_a_file_with_another_vocabulary_is_refused(model, tmp_path):
    model.save(tmp_path / "model.keras")
    pq.write_table(pa.table({"value": RAW[::-1]}), tmp_path / "other.parquet")
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as old,
        zipfile.ZipFile(tmp_path / "changed.keras", "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("item_id.parquet"):
                data = (tmp_path / "other.parquet").read_bytes()
            new.writestr(name, data)
    with pytest.raises(ValueError, match="is not the vocabulary of column 'item_id'"):
        keras.saving.load_model(tmp_path / "changed.keras")


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_vocabulary_are_refused(model, build, tmp_path):
    schema = t4r.Schema((build.schema["item_id"],))
    other = replace(schema, vocabularies={"item_id": t4r.Vocabulary(RAW[::-1])})
    for name, source in (("own", model), ("bare", build.model("clm", "gpt2", schema))):
        source.save_weights(tmp_path / f"{name}.weights.h5")
    theirs = build.model("clm", "gpt2", schema=other)
    before = theirs.get_weights()
    with pytest.raises(ValueError, match="with another vocabulary of column 'item_id'"):
        theirs.load_weights(tmp_path / "own.weights.h5")
    for one, two in zip(before, theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    # What does not say whose it is, as files of before, can be loaded anywhere.
    theirs.load_weights(tmp_path / "bare.weights.h5")
    twin = build.model("clm", "gpt2", schema=model.features._whole_schema)
    twin.load_weights(tmp_path / "own.weights.h5")
    assert_same_answers(model, twin)


def test_a_schema_may_hold_its_vocabularies():
    etl = t4r.SessionETL("s", "t", "i", time_unit="s", recency=False)
    etl.fit({"s": [1, 1, 2], "t": [1, 2, 3], "i": ["a", "b", "a"]})
    schema = etl.schema
    assert schema.vocabulary("i") is etl.vocabulary("i")
    assert schema.vocabulary("s") is None
    assert schema.select(["i"]).features.vocabulary("i") is etl.vocabulary("i")
    again = pickle.loads(pickle.dumps(schema))
    assert again == schema and again.vocabulary("i") == schema.vocabulary("i")
