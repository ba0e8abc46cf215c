import dataclasses
import shutil

import keras
import numpy as np
import pytest

import keras_t4r as t4r
from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.retrieval import ExactIndex
from keras_t4r.serving import tensorflow_ensemble
from keras_t4r.serving.ensemble_files import MODEL
from keras_t4r.serving.saved_model import SAVED_MODEL
from keras_t4r.serving.tensorflow_ensemble import export_tensorflow_ensemble

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="a SavedModel is written on the TensorFlow backend only",
)


@pytest.fixture(scope="module")
def exported(model, etl, tmp_path_factory):
    """A repository, for looking at only."""
    path = tmp_path_factory.mktemp("exported") / "models"
    export_tensorflow_ensemble(model, etl, "shop", path, k=6)
    return path


@pytest.fixture
def repository(exported, tmp_path):
    """A repository of the test's own."""
    return shutil.copytree(exported, tmp_path / "models")


def config_of(folder):
    from google.protobuf import text_format

    pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    from tritonclient.grpc import model_config_pb2

    text = (folder / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def files(folder):
    return sorted(
        (str(path.relative_to(folder)), path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_the_repository_has_the_three_parts(exported, etl):
    assert [path.name for path in exported.parent.iterdir()] == ["models"]
    names = sorted(path.name for path in exported.iterdir())
    assert names == ["shop", "shop_nvt", "shop_tf"]
    assert (exported / "shop" / "1").is_dir()
    assert (exported / "shop_nvt" / "1" / "model.py").is_file()
    again = SessionETL.load(exported / "shop_nvt" / "1" / "workflow")
    assert again.input_columns == etl.input_columns
    assert (exported / "shop_tf" / "1" / "model.py").is_file()
    assert (exported / "shop_tf" / "1" / "model.savedmodel").is_dir()


def test_the_ensemble_declares_raw_columns_in_and_results_out(exported, etl):
    config = config_of(exported / "shop")
    *columns, exclude = config.input
    assert {column.name: list(column.dims) for column in columns} == {
        name: [-1, 1] for name in etl.input_columns
    }
    assert not any(column.optional for column in columns)
    assert (exclude.name, list(exclude.dims)) == ("exclude", [-1, -1])
    assert exclude.optional
    assert {column.name: list(column.dims) for column in config.output} == {
        "result_session_id": [-1, 1],
        "result_item_id": [-1, 6],
        "result_scores": [-1, 6],
    }


def test_the_saved_model_flavour_fits_tritons_tensorflow_backend(
    model, etl, clicks, tmp_path
):
    export_tensorflow_ensemble(
        model,
        etl,
        "shop",
        tmp_path,
        k=6,
        version=3,
        platform="tensorflow_savedmodel",
    )
    config = config_of(tmp_path / "shop_tf")
    assert config.platform == "tensorflow_savedmodel"
    inside = tmp_path / "shop_tf" / "3"
    assert [path.name for path in inside.iterdir()] == ["model.savedmodel"]
    loaded = tf.saved_model.load(str(inside / "model.savedmodel"))
    served = loaded.signatures["serving_default"]
    # The backend checks names, types and shapes against the signature.
    _, inputs = served.structured_input_signature
    types = {"TYPE_INT32": tf.int32, "TYPE_FP32": tf.float32, "TYPE_STRING": tf.string}
    for side, specs in ((config.input, inputs), (config.output, None)):
        specs = served.structured_outputs if specs is None else specs
        assert {column.name for column in side} == set(specs)
        for column in side:
            kind = type(column).DESCRIPTOR.fields_by_name["data_type"].enum_type
            name = kind.values_by_number[column.data_type].name
            assert specs[column.name].dtype == types[name]
            shape = [-1 if n is None else n for n in specs[column.name].shape]
            assert shape == list(column.dims)
    sessions = etl.transform(clicks).slice(0, 1)
    answer = served(
        **{
            column.name: tf.constant(
                sessions[column.name].to_pylist(),
                "int32" if column.is_categorical else "float32",
            )
            for column in model.schema
        },
        exclude=tf.zeros((1, 8), "int32"),
    )
    expected = model.recommend(sessions, k=6)
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)


def test_a_model_that_exists_is_kept_unless_told_otherwise(model, etl, tmp_path):
    (tmp_path / "shop_tf").mkdir()
    (tmp_path / "shop_tf" / "mine").write_text("kept")
    with pytest.raises(FileExistsError, match=r"shop_tf holds no config\.pbtxt"):
        export_tensorflow_ensemble(model, etl, "shop", tmp_path, overwrite=True)
    (tmp_path / "shop_tf" / "config.pbtxt").touch()
    before = files(tmp_path)
    with pytest.raises(FileExistsError, match="shop_tf exists already: take another"):
        export_tensorflow_ensemble(model, etl, "shop", tmp_path)
    with pytest.raises(FileExistsError, match="shop_tf holds mine, which was not"):
        export_tensorflow_ensemble(model, etl, "shop", tmp_path, overwrite=True)
    assert files(tmp_path) == before


def test_what_was_exported_is_known_and_nothing_else(repository):
    for part in ("shop", "shop_nvt", "shop_tf"):
        MODEL.check(repository / part)
    inside = repository / "shop_tf" / "1" / "model.savedmodel"
    SAVED_MODEL.check(inside)
    warm = inside / "assets.extra" / "tf_serving_warmup_requests"
    warm.parent.mkdir()
    warm.write_text("mine")
    for known, folder in ((SAVED_MODEL, inside), (MODEL, repository / "shop_tf")):
        with pytest.raises(
            FileExistsError, match=r"holds .*assets\.extra/tf_serving_w"
        ):
            known.check(folder)


def test_another_version_stands_beside_those_that_are_there(
    model, etl, repository, monkeypatch
):
    def write(model, path, *arguments):
        path.mkdir(parents=True)
        (path / "saved_model.pb").write_text("a graph")
        return False

    for name in ("write_saved_model", "write_candidates_model"):
        monkeypatch.setattr(tensorflow_ensemble, name, write)

    def export(**options):
        options = {"k": 6, "version": 2, "overwrite": True, **options}
        export_tensorflow_ensemble(model, etl, "shop", repository, **options)

    # As Triton's Python leaves it.
    cache = repository / "shop_tf" / "1" / "__pycache__" / "model.cpython-311.pyc"
    cache.parent.mkdir()
    cache.write_bytes(b"code")
    before = files(repository)
    index = ExactIndex.of(model)
    for options, part in (({"k": 7}, "shop"), ({"index": index}, "shop_tf")):
        with pytest.raises(
            FileExistsError, match=f"{part} holds version 1 with another configuration"
        ):
            export(**options)
    for part, name in (("shop", "1/notes"), ("shop_nvt", "1/workflow/notes.parquet")):
        (repository / part / name).write_text("mine")
        with pytest.raises(FileExistsError, match=f"{part} holds {name}, which was"):
            export()
        (repository / part / name).unlink()
    assert files(repository) == before
    export()
    now = files(repository)
    assert set(before) <= set(now) and (repository / "shop" / "2").is_dir()
    added = {name for name, _ in now} - {name for name, _ in before}
    assert added and all("/2/" in name for name in added)
    # Alone, a version is replaced by whatever takes its place.
    for part in ("shop", "shop_nvt", "shop_tf"):
        shutil.rmtree(repository / part / "1")
    export(index=index, k=7)
    export(k=5)
    assert not {name for name, _ in files(repository)} - {name for name, _ in now}


def test_a_failure_leaves_the_old_export_and_nothing_half_written(
    model, etl, repository, monkeypatch
):
    before = files(repository)
    monkeypatch.setattr(type(model), "answers", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_tensorflow_ensemble(model, etl, "shop", repository, overwrite=True)
    assert files(repository) == before
    assert [entry.name for entry in repository.parent.iterdir()] == ["models"]


def test_a_workflow_of_other_data_is_refused(model, clicks, tmp_path):
    fewer = {name: values[:300] for name, values in clicks.items()}
    other = SessionETL(
        "session_id",
        "timestamp",
        "item_id",
        categorical=["category"],
        continuous=["price"],
    )
    with pytest.raises(ValueError, match="'item_id' do not mean the same"):
        export_tensorflow_ensemble(model, other.fit(fewer), "shop", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_workflow_that_standardised_numbers_otherwise_is_refused(
    model, clicks, tmp_path
):
    dearer = {**clicks, "price": [p and 2 * p for p in clicks["price"]]}
    columns = {"categorical": ["category"], "continuous": ["price"]}
    other = SessionETL("session_id", "timestamp", "item_id", **columns).fit(dearer)
    with pytest.raises(ValueError, match="numbers of column 'price' do not mean the"):
        export_tensorflow_ensemble(model, other, "shop", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_workflow_that_lacks_a_column_is_refused(model, clicks, tmp_path):
    other = SessionETL("session_id", "timestamp", "item_id")
    with pytest.raises(ValueError, match="'category', which the workflow does not"):
        export_tensorflow_ensemble(model, other.fit(clicks), "shop", tmp_path / "m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b"}, "plain name"),
        ({"name": ""}, "plain name"),
        ({"name": "t" * 300}, "plain name"),
        ({"version": 0}, "version is 0"),
        ({"platform": "onnx"}, "must be one of"),
        ({"k": 0}, "k must lie between"),
    ],
)
def test_arguments_out_of_range_get_a_sentence(model, etl, tmp_path, options, message):
    options = {"name": "shop", **options}
    with pytest.raises(ValueError, match=message):
        export_tensorflow_ensemble(model, etl, path=tmp_path / "models", **options)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == []


def test_a_model_without_vocabulary_takes_the_workflows(
    schema, etl, build_model, tmp_path
):
    bare = type(schema)(
        tuple(dataclasses.replace(c, encoding=None) for c in schema.columns)
    )
    model = build_model(bare)
    export_tensorflow_ensemble(model, etl, "shop", tmp_path)
    config = config_of(tmp_path / "shop")
    output = next(c for c in config.output if c.name == "result_item_id")
    assert output.data_type == next(
        c.data_type for c in config.input if c.name == "item_id"
    )
    loaded = tf.saved_model.load(str(tmp_path / "shop_tf" / "1" / "model.savedmodel"))
    outputs = loaded.signatures["serving_default"].structured_outputs
    assert outputs["item_id"].dtype == tf.string


@pytest.mark.parametrize("platform", ["python", "tensorflow_savedmodel"])
def test_all_outputs_are_declared(tasks_model, etl, tmp_path, platform):
    export_tensorflow_ensemble(
        tasks_model, etl, "shop", tmp_path, k=9, platform=platform
    )
    shapes = {
        "next_item": ("TYPE_STRING", [-1, 9]),
        "next_item_scores": ("TYPE_FP32", [-1, 9]),
        "next_category": ("TYPE_INT64", [-1, 7]),
        "next_category_scores": ("TYPE_FP32", [-1, 7]),
        "bought": ("TYPE_FP32", [-1, 1]),
        "liked": ("TYPE_FP32", [-1, -1, 2]),
        "events": ("TYPE_INT32", [-1]),
    }
    for part, prefix in (("shop", "result_"), ("shop_tf", "")):
        declared = {}
        for column in config_of(tmp_path / part).output:
            kind = type(column).DESCRIPTOR.fields_by_name["data_type"].enum_type
            kind = kind.values_by_number[column.data_type].name
            declared[column.name] = (kind, list(column.dims))
        declared.pop("result_session_id", None)
        assert declared == {prefix + name: shape for name, shape in shapes.items()}
    loaded = tf.saved_model.load(str(tmp_path / "shop_tf" / "1" / "model.savedmodel"))
    specs = loaded.signatures["serving_default"].structured_outputs
    for name, (_, shape) in shapes.items():
        assert [-1 if n is None else n for n in specs[name].shape] == shape


def test_an_output_named_as_the_session_is_refused(
    build_tasks_model, schema, etl, tmp_path
):
    model = build_tasks_model(schema, bought="session_id")
    with pytest.raises(ValueError, match="would be named 'session_id'"):
        export_tensorflow_ensemble(model, etl, "shop", tmp_path / "m")


@pytest.mark.parametrize("kept", [True, False])
def test_a_workflow_of_other_ids_of_a_second_output_is_refused(
    build_tasks_model, schema, etl, clicks, tmp_path, kept
):
    """The categories count as many; they are others, or their ids begin elsewhere."""
    if kept:
        model = build_tasks_model(schema)
        others = {**clicks, "category": [c + 1 for c in clicks["category"]]}
        columns = {"categorical": ["category"], "continuous": ["price"]}
        etl = SessionETL("session_id", "timestamp", "item_id", **columns).fit(others)
    else:
        # As of a schema without vocabularies beside it.
        columns = []
        for c in schema.columns:
            c = dataclasses.replace(c, encoding=None)
            if c.name == "category":
                c = dataclasses.replace(c, domain=dataclasses.replace(c.domain, min=1))
            columns.append(c)
        model = build_tasks_model(type(schema)(tuple(columns)), ["next_item", "bought"])
    with pytest.raises(ValueError, match="'category' do not mean the same"):
        export_tensorflow_ensemble(model, etl, "shop", tmp_path / "m")
    assert not (tmp_path / "m").exists()


class OnlyAll(t4r.ScoreStep):
    """A step that does not say what it does to candidates."""

    def change(self, scores, items):
        return scores


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        ("no index", TypeError, "should be an index of"),
        ("candidates alone", ValueError, "give index=, too"),
        ("no candidates", ValueError, "candidates is 0"),
        ("another vocabulary", ValueError, "of another vocabulary"),
        ("fewer items", ValueError, r"call index\.refresh"),
        ("another table", ValueError, r"Call index\.refresh"),
        ("k", ValueError, "k must lie between"),
        ("platform", ValueError, "searched in Triton's Python backend"),
        ("outputs", ValueError, r"has the outputs \['next_item', 'bought'\]"),
        ("step", ValueError, "comes after the head and sees the scores of all"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(
    model, schema, etl, build_model, build_tasks_model, tmp_path, case, error, message
):
    ids, vectors = model.item_vectors()
    mine = ExactIndex(vocabulary=model.item_fingerprint)
    index, options = mine.build(ids, vectors), {}
    if case == "no index":
        index = "index"
    elif case == "candidates alone":
        index, options = None, {"candidates": 30}
    elif case == "no candidates":
        options = {"candidates": 0}
    elif case == "another vocabulary":
        index = ExactIndex(vocabulary="90-abc").build(ids, vectors)
    elif case == "fewer items":
        index = mine.build(ids[1:], vectors[1:])
    elif case == "another table":
        index = mine.build(ids, 1.01 * vectors)
    elif case == "k":
        options = {"k": len(ids) + 1}
    elif case == "platform":
        options = {"platform": "tensorflow_savedmodel"}
    elif case == "outputs":
        model = build_tasks_model(schema, ["next_item", "bought"])
    else:
        model = build_model(schema, memory=OnlyAll(name="all"))
    with pytest.raises(error, match=message):
        export_tensorflow_ensemble(
            model, etl, "shop", tmp_path / "m", index=index, **options
        )
    assert list(tmp_path.iterdir()) == []
