"""Columns of odd names train, are saved, and are served as others are."""

import keyword

import keras
import numpy as np
import pytest
from seeds import set_seed

import keras_t4r as t4r

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="a SavedModel is written on the TensorFlow backend only",
)
# Session, time, item, categories of events, a number, and one of the session.
ODD = ("import", "None", "class", ["self", "Prix €", "1st"], "lambda", "from")


def make_etl(names):
    session, time, item, categories, number, context = names
    rng = np.random.default_rng(0)
    clicks = {
        session: [f"s {row // 4}" for row in range(80)],
        time: list(range(80)),
        item: [f"i{k}" for k in rng.integers(9, size=80)],
        **{name: rng.integers(5, size=80).tolist() for name in categories},
        number: rng.normal(size=80).tolist(),
        context: [row // 4 % 3 for row in range(80)],
    }
    etl = t4r.SessionETL(
        session,
        time,
        item,
        categorical=categories,
        continuous=[number],
        context_categorical=[context],
        time_unit="s",
        recency=False,
        time_features=(),
        max_length=6,
    )
    return etl.fit(clicks), clicks


def make_model(schema, outputs=None):
    set_seed(3)
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, d_output=8)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs[schema.item_id])
    config = t4r.session_config("sasrec", d_model=8, n_layer=1, n_head=1, max_length=6)
    x = t4r.TransformerBlock(config)(x)
    scores = t4r.NextItemHead()(x, targets, table)
    if outputs is None:
        return t4r.SessionModel(inputs, scores)
    item, liked = outputs
    summary = t4r.SessionSummary("last")(x)
    return t4r.SessionModel(
        inputs, {item: scores, liked: keras.layers.Dense(1)(summary)}
    )


def served(path, model, sessions, **more):
    """What a SavedModel says to sessions of an ETL."""
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    inputs = dict(more)
    for column in model.schema:
        values = sessions[column.name].to_pylist()
        if column.is_list:
            values = [row + [0] * (6 - len(row)) for row in values]
        dtype = "int32" if column.is_categorical else "float32"
        inputs[column.plain_name] = tf.constant(values, dtype)
    assert set(inputs) == set(serve.structured_input_signature[1])
    return serve(**inputs)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    etl, clicks = make_etl(ODD)
    folder = tmp_path_factory.mktemp("odd") / "sessions"
    etl.write(clicks, folder, progress=False)
    schema = t4r.Schema.load(folder / "schema.pbtxt")
    model = make_model(schema)
    model.compile("adam")
    model.fit(t4r.KerasSequenceLoader(folder, schema, 10), verbose=0)
    return model, etl, etl.transform(clicks)


def test_a_model_of_odd_names_is_served(odd, tmp_path):
    model, _, sessions = odd
    expected = model.recommend(sessions, k=4)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.recommend(sessions, k=4)["class"], expected["class"]
    )
    t4r.export_saved_model(again, tmp_path / "1", k=4)
    answer = served(tmp_path / "1", model, sessions)
    assert set(answer) == {"class", "scores"}
    assert answer["class"].numpy().astype(str).tolist() == expected["class"].tolist()
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)


def test_so_is_its_ensemble(odd, tmp_path):
    pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    model, etl, sessions = odd
    folders = t4r.export_tensorflow_ensemble(model, etl, "odd", tmp_path, k=4)
    ensemble, nvt, tf_part = (
        text_format.Parse(
            (f / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
        )
        for f in folders
    )
    steps = {s.model_name: s for s in ensemble.ensemble_scheduling.step}
    for part in (nvt, tf_part):
        assert {t.name for t in part.input} == set(steps[part.name].input_map)
        assert {t.name for t in part.output} == set(steps[part.name].output_map)
    assert {t.name for t in ensemble.input} == {*etl.input_columns, "exclude"}
    assert "import" in {t.name for t in ensemble.input}
    answers = {t.name for t in ensemble.output}
    assert answers == {"result_import", "result_class", "result_scores"}
    path = folders[2] / "1" / "model.savedmodel"
    nothing = tf.zeros((1, 1), "int32")
    answer = served(path, model, sessions, exclude=nothing)
    expected = model.recommend(sessions, k=4)
    assert answer["class"].numpy().astype(str).tolist() == expected["class"].tolist()


@pytest.mark.parametrize("outputs", [("class", "self"), ("Liked", "liked")])
def test_outputs_may_have_odd_names(odd, outputs, tmp_path):
    schema = odd[0].schema.select(["class"])
    etl, clicks = make_etl(ODD)
    model = make_model(odd[1].schema.select(["import", "class"]), outputs)
    assert schema.names == model.schema.names
    t4r.export_saved_model(model, tmp_path / "1", k=2)
    answer = served(tmp_path / "1", model, etl.transform(clicks))
    assert set(answer) == {outputs[0], f"{outputs[0]}_scores", outputs[1]}


def test_raw_columns_may_be_named_as_what_is_inside_an_ensemble(tmp_path):
    etl, _ = make_etl(("s", "t", "i", ["input_i"], "x", "input__i"))
    model = make_model(etl.schema)
    folders = t4r.export_tensorflow_ensemble(model, etl, "e", tmp_path, k=2)
    text = (folders[0] / "config.pbtxt").read_text()
    raw = [line for line in text.splitlines() if 'value: "input_i"' in line]
    # As the raw column alone, and never as the encoded one.
    assert len(raw) == 1


@pytest.mark.parametrize("name", ["result_s", "result_i", "result_scores"])
def test_but_not_as_an_answer(name, tmp_path):
    etl, _ = make_etl(("s", "t", "i", [name], "x", "c"))
    model = make_model(etl.schema)
    with pytest.raises(ValueError, match=f"'{name}' is named as an answer"):
        t4r.export_tensorflow_ensemble(model, etl, "e", tmp_path / "models", k=2)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", [*keyword.kwlist, "self"])
def test_words_of_python_are_names_with_a_mark_behind(name):
    assert t4r.ColumnSchema(name).plain_name == f"{name}_"
    assert t4r.ColumnSchema(f"{name} x").plain_name == f"{name}_x"


@pytest.mark.parametrize(
    ("one", "other"),
    [("A", "a"), ("a b", "A.B"), ("class", "class_"), ("CLASS_", "class"), ("é", "ü")],
)
def test_names_that_a_model_takes_for_one_are_refused_first(one, other):
    sentence = f"'{one}' and '{other}' are both named .* rename one"
    with pytest.raises(ValueError, match=sentence):
        t4r.SessionETL("s", "t", one, categorical=[other])
    ids = {"tags": ("categorical",), "domain": t4r.Domain(2, 9)}
    columns = [t4r.ColumnSchema(name, **ids) for name in (one, other)]
    with pytest.raises(ValueError, match=sentence):
        t4r.Schema(columns).inputs()
    # Of a session or a time a model reads nothing.
    assert t4r.SessionETL(one, "t", other).config.session == one
