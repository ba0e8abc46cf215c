from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_t4r as t4r
from keras_t4r.schema import Vocabulary
from keras_t4r.serving.saved_model import export_saved_model

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="a SavedModel is written on the TensorFlow backend only",
)


@pytest.fixture(scope="module")
def item_model(schema, build_model):
    """A model of items only, whose export reads raw ids too."""
    return build_model(schema.select(["session_id", "item_id"]))


def padded(lists, filler, dtype):
    width = max(map(len, lists))
    rows = [row + [filler] * (width - len(row)) for row in lists]
    return tf.constant(np.array(rows, dtype=dtype))


def text(tensor):
    return np.char.decode(tensor.numpy().astype("S"), "utf-8").tolist()


def test_serving_default_answers_as_recommend(model, etl, clicks, tmp_path):
    sessions = etl.transform(clicks).slice(0, 30)
    export_saved_model(model, tmp_path / "1", k=7)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    # Its numbers cannot be looked up, so raw ids alone would not do.
    assert set(loaded.signatures) == {"serving_default"}
    served = loaded.signatures["serving_default"]
    inputs = {}
    for column in model.schema:
        dtype = "int32" if column.is_categorical else "float32"
        inputs[column.name] = padded(sessions[column.name].to_pylist(), 0, dtype)
    answer = served(**inputs)
    expected = model.recommend(sessions, k=7)
    assert set(answer) == {"item_id", "scores"}
    assert text(answer["item_id"]) == expected["item_id"].tolist()
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_recommend_raw_answers_as_recommend(item_model, tmp_path, exclude_seen):
    sessions = [["item 1 é", "item 3 é"], ["item 2 é"] * 3 + ["never seen", "item 4 é"]]
    export_saved_model(item_model, tmp_path / "1", k=60, exclude_seen=exclude_seen)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    raw = [[item.encode() for item in row] for row in sessions]
    answer = loaded.signatures["recommend_raw"](item_id=padded(raw, b"", object))
    expected = item_model.recommend(
        {"item_id": sessions}, k=60, exclude_seen=exclude_seen
    )
    assert text(answer["item_id"]) == expected["item_id"].tolist()
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)
    if exclude_seen:
        for row, session in zip(text(answer["item_id"]), sessions, strict=True):
            assert not set(row) & set(session)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_excluded_items_are_left_out_as_by_recommend(
    item_model, tmp_path, exclude_seen
):
    sessions = [["item 1 é", "item 3 é"], ["item 2 é"]]
    best = item_model.recommend({"item_id": sessions}, k=4)["item_id"].tolist()
    export_saved_model(item_model, tmp_path / "1", 60, exclude_seen, exclude=True)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    x = padded([[i.encode() for i in row] for row in sessions], b"", object)
    encoded = [item_model.vocabulary("item_id").encode(row) for row in sessions]
    encoded = padded([row.tolist() for row in encoded], 0, "int32")
    # One list for all, one for each, and one of nothing that is known.
    for exclude in (best[0], [best[0][:1], best[1]], ["never seen"]):
        expected = item_model.recommend(
            {"item_id": sessions}, k=60, exclude_seen=exclude_seen, exclude=exclude
        )
        rows = exclude if isinstance(exclude[0], list) else [exclude]
        out = padded([[i.encode() for i in row] for row in rows], b"", object)
        raw = loaded.signatures["recommend_raw"](item_id=x, exclude=out)
        ids = [item_model.vocabulary("item_id").encode(row).tolist() for row in rows]
        out = padded(ids, 0, "int32")
        by_id = loaded.signatures["serving_default"](item_id=encoded, exclude=out)
        for answer in (raw, by_id):
            there = expected["scores"] > -np.inf
            items = np.array(text(answer["item_id"]))
            assert items[there].tolist() == expected["item_id"][there].tolist()
            np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="run from 0 to 119"):
        out = tf.constant([[10**6]])
        loaded.signatures["serving_default"](item_id=encoded, exclude=out)


def test_a_column_named_as_what_is_excluded_is_refused(build_model, tmp_path):
    from keras_t4r.schema import ColumnSchema, Domain, Schema

    tags = ("item_id", "categorical")
    column = ColumnSchema("exclude", "int64", tags, Domain(2, 5, "i"), (1, 20))
    model = build_model(Schema([column]))
    with pytest.raises(ValueError, match="named 'exclude'"):
        export_saved_model(model, tmp_path / "1", exclude=True)
    assert not (tmp_path / "1").exists()


def test_integer_ids_come_back_as_integers(build_model, tmp_path, schema):
    from keras_t4r.data.etl.session_etl import SessionETL

    clicks = {"s": [1, 1, 1, 2, 2], "t": [1, 2, 3, 4, 5], "i": [70, 50, 60, 50, 60]}
    etl = SessionETL("s", "t", "i", time_unit="s", recency=False, time_features=())
    etl.write(clicks, tmp_path / "log", progress=False)
    own = type(schema).load(tmp_path / "log" / "schema.pbtxt")
    model = build_model(own)
    export_saved_model(model, tmp_path / "1", k=3)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["recommend_raw"]
    answer = served(i=tf.constant([[70, 50, -1]], tf.int64))
    assert answer["i"].dtype == tf.int64
    expected = model.recommend({"i": [[70, 50]]}, k=3)
    assert answer["i"].numpy().tolist() == expected["i"].tolist()


@pytest.mark.parametrize("kind", ["int64", "string", "encoded"])
def test_places_without_an_item_are_marked(build_model, kind):
    from keras_t4r.schema import ColumnSchema, Domain, Schema
    from keras_t4r.serving.saved_model import _answerer

    tags = ("item_id", "categorical")
    schema = Schema([ColumnSchema("i", "int64", tags, Domain(2, 5, "i"), (1, 20))])
    model = build_model(schema)
    raw = {"int64": [70, 50, 60, 80], "string": list("abcd"), "encoded": [2, 3, 4, 5]}
    vocabulary = None if kind == "encoded" else Vocabulary(raw[kind])
    vocabularies = {"i": vocabulary}
    answerer = tf.function(_answerer(model, vocabularies, 4, exclude_seen=True))
    answer = answerer({"i": tf.constant([[3, 5, 0]])})
    nothing = {"int64": -1, "string": "", "encoded": 0}[kind]
    ids = text(answer["i"]) if kind == "string" else answer["i"].numpy().tolist()
    assert ids[0][2:] == [nothing, nothing]
    assert set(ids[0][:2]) == {raw[kind][0], raw[kind][2]}
    assert np.isfinite(answer["scores"]).sum() == 2


def test_raw_ids_are_not_read_where_unknown_ones_have_no_id(build_model, tmp_path):
    from keras_t4r.schema import ColumnSchema, Domain, Schema

    tags = ("item_id", "categorical")
    schema = Schema([ColumnSchema("i", "int64", tags, Domain(1, 4, "i"), (1, 20))])
    schema.save(tmp_path / "schema.pbtxt")
    vocabulary = Vocabulary(list("abcd"), first_id=1)
    vocabulary.save(tmp_path / "vocabularies" / "i.parquet")
    model = build_model(Schema.load(tmp_path / "schema.pbtxt"))
    assert set(model.recommend({"i": [["a", "b"]]}, k=4)["i"][0]) == set("abcd")
    with pytest.raises(ValueError, match="'i' holds 'e', which is not among the 4"):
        model.recommend({"i": [["a", "e"]]}, k=4)
    export_saved_model(model, tmp_path / "1", k=2)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    assert set(loaded.signatures) == {"serving_default"}


def test_a_model_without_a_vocabulary_answers_in_encoded_ids(
    schema, build_model, tmp_path
):
    from keras_t4r.schema import Schema

    own = [replace(schema[c], encoding=None) for c in ("session_id", "item_id")]
    own = Schema(own)
    model = build_model(own)
    export_saved_model(model, tmp_path / "1", k=3)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    assert set(loaded.signatures) == {"serving_default"}
    ids = tf.constant([[3, 4, 5]], tf.int32)
    answer = loaded.signatures["serving_default"](item_id=ids)
    expected = model.recommend({"item_id": [[3, 4, 5]]}, k=3)
    assert answer["item_id"].numpy().tolist() == expected["item_id"].tolist()


def test_a_vocabulary_with_the_mark_of_padding_warns_that_raw_ids_are_not_read(
    build_model, tmp_path, schema
):
    from keras_t4r.data.etl.session_etl import SessionETL

    clicks = {"s": [1, 1, 2, 2], "t": [1, 2, 3, 4], "i": [-1, 7, 8, 7]}
    etl = SessionETL("s", "t", "i", time_unit="s", recency=False, time_features=())
    etl.write(clicks, tmp_path / "log", progress=False)
    model = build_model(type(schema).load(tmp_path / "log" / "schema.pbtxt"))
    with pytest.warns(UserWarning, match="'i' has -1 as a value"):
        export_saved_model(model, tmp_path / "1", k=2)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    assert set(loaded.signatures) == {"serving_default"}


def test_an_existing_folder_is_kept(item_model, tmp_path):
    target = tmp_path / "1"
    target.mkdir()
    (target / "mine").write_text("kept")
    with pytest.raises(FileExistsError, match="exists already"):
        export_saved_model(item_model, target)
    assert (target / "mine").read_text() == "kept"
    assert list(tmp_path.iterdir()) == [target]


def test_weights_that_are_no_numbers_are_not_exported(item_model, etl, tmp_path):
    index = t4r.retrieval.ExactIndex.of(item_model)
    table = item_model.trainable_weights[0]
    before = table.numpy()
    exports = [
        lambda: export_saved_model(item_model, tmp_path / "1"),
        lambda: t4r.export_tensorflow_ensemble(item_model, etl, "a", tmp_path / "m"),
        lambda: t4r.export_tensorflow_ensemble(
            item_model, etl, "a", tmp_path / "m", index=index
        ),
        lambda: t4r.retrieval.ExactIndex.of(item_model),
    ]
    try:
        for value in (np.nan, np.inf):
            table.assign(np.where(np.arange(len(before))[:, None] == 5, value, before))
            for export in exports:
                with pytest.raises(ValueError, match=f"weights '{table.path}' hold"):
                    export()
    finally:
        table.assign(before)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_k_beyond_the_catalogue_leaves_nothing_behind(item_model, tmp_path):
    with pytest.raises(ValueError, match="k must lie between 1 and"):
        export_saved_model(item_model, tmp_path / "1", k=100_000)
    assert list(tmp_path.iterdir()) == []


def served_answer(path, model, sessions, **more):
    """What the SavedModel says to sessions of an ETL."""
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    inputs = {}
    for column in model.schema:
        dtype = "int32" if column.is_categorical else "float32"
        inputs[column.name] = padded(sessions[column.name].to_pylist(), 0, dtype)
    return {name: value.numpy() for name, value in served(**inputs, **more).items()}


def test_all_outputs_are_answered(
    tasks_model, expected_of_tasks, etl, clicks, tmp_path
):
    sessions = etl.transform(clicks).slice(0, 30)
    assert max(map(len, sessions["item_id"].to_pylist())) > 6
    export_saved_model(tasks_model, tmp_path / "1", k=9)
    answer = served_answer(tmp_path / "1", tasks_model, sessions)
    expected = expected_of_tasks(tasks_model, etl, sessions, 9)
    assert set(answer) == {"events", *expected} - {"session_id"}
    # There are seven categories.
    assert answer["next_category"].shape == (30, 7)
    assert answer["next_category"].dtype == "int64"
    assert answer["next_category"].tolist() == expected["next_category"].tolist()
    assert text(tf.constant(answer["next_item"])) == expected["next_item"].tolist()
    for name in ("next_item_scores", "next_category_scores", "bought"):
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)
    assert answer["liked"].shape == (30, 5, 2)
    for values, count, own in zip(
        answer["liked"], answer["events"], expected["liked"], strict=True
    ):
        assert len(own) == count
        np.testing.assert_allclose(values[:count], own, atol=1e-5)
        assert not values[count:].any()


def test_seen_items_are_left_out_of_scores_of_items_alone(
    tasks_model, etl, clicks, tmp_path
):
    sessions = etl.transform(clicks).slice(0, 10)
    how = {"k": 100, "exclude_seen": True, "exclude": True}
    export_saved_model(tasks_model, tmp_path / "1", **how)
    # The best items, and ids that categories have, too.
    more = tf.constant([np.arange(2, 9)], tf.int32)
    answer = served_answer(tmp_path / "1", tasks_model, sessions, exclude=more)
    seen = [set(etl.decode(row)) for row in sessions["item_id"].to_pylist()]
    more = set(etl.decode(more.numpy()[0]))
    for row, own in zip(text(tf.constant(answer["next_item"])), seen, strict=True):
        assert not set(row) & (own | more)
    assert np.isfinite(answer["next_category_scores"]).all()


def test_a_model_without_a_next_item_output_is_exported(
    build_tasks_model, tasks_model, schema, etl, clicks, tmp_path
):
    sessions = etl.transform(clicks).slice(0, 4)
    model = build_tasks_model(schema, ["bought"])
    export_saved_model(model, tmp_path / "1")
    answer = served_answer(tmp_path / "1", model, sessions)
    assert set(answer) == {"bought"}
    assert answer["bought"].shape == (4, 1)
    with pytest.raises(ValueError, match="no next-item output of its items"):
        export_saved_model(model, tmp_path / "2", exclude_seen=True)
    with pytest.raises(ValueError, match="exclude leaves items out"):
        export_saved_model(model, tmp_path / "2", exclude=True)


def test_scores_of_another_column_alone_go_by_the_outputs_name(
    build_tasks_model, schema, etl, clicks, tmp_path
):
    sessions = etl.transform(clicks).slice(0, 4)
    model = build_tasks_model(schema, ["next_category"])
    with pytest.raises(ValueError, match="number of items, 7, not at 8"):
        export_saved_model(model, tmp_path / "1", k=8)
    export_saved_model(model, tmp_path / "1", k=3)
    answer = served_answer(tmp_path / "1", model, sessions)
    assert set(answer) == {"next_category", "next_category_scores"}
    assert set(answer["next_category"].ravel()) <= set(range(7))


@pytest.mark.parametrize("name", ["next_item_scores", "events"])
def test_two_tensors_of_one_name_are_refused(build_tasks_model, schema, tmp_path, name):
    model = build_tasks_model(schema, bought=name)
    with pytest.raises(ValueError, match=f"would be named '{name}'"):
        export_saved_model(model, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([0, 0, 3, 4], "pad sessions on the right"),
        ([3, 0, 4, 0], "pad sessions on the right"),
        ([3, 9999, 0, 0], "run from 0 to"),
        ([3, -1, 4, 0], "run from 0 to"),
    ],
)
def test_what_is_no_session_stops_the_graph(item_model, tmp_path, row, why):
    export_saved_model(item_model, tmp_path / "1", k=2)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    served(item_id=tf.constant([[3, 4, 0, 0]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=why):
        served(item_id=tf.constant([row]))


@pytest.mark.parametrize(
    "item", ["Item ID", "item_id:token", "1st.artículo", "class", "self"]
)
def test_columns_of_any_name_are_served(item, build_model, tmp_path):
    from keras_t4r.data.etl.session_etl import SessionETL

    clicks = {"s": [1, 1, 2, 2], "t": [1, 2, 3, 4], item: ["x", "y", "z", "y"]}
    etl = SessionETL("s", "t", item, time_unit="s", recency=False, time_features=())
    etl.write(clicks, tmp_path / "log", progress=False)
    model = build_model(t4r.Schema.load(tmp_path / "log" / "schema.pbtxt"))
    export_saved_model(model, tmp_path / "1", k=2)
    raw = tf.saved_model.load(str(tmp_path / "1")).signatures["recommend_raw"]
    (name,) = raw.structured_input_signature[1]
    answer = raw(**{name: tf.constant([["x", "y"]])})
    expected = model.recommend({item: [["x", "y"]]}, k=2)
    assert answer[item].numpy().astype(str).tolist() == expected[item].tolist()
    again = tmp_path / "model.keras"
    model.save(again)
    loaded = keras.saving.load_model(again)
    np.testing.assert_allclose(
        loaded.recommend({item: [["x", "y"]]}, k=2)["scores"], expected["scores"]
    )


def test_columns_that_one_name_would_stand_for_are_refused():
    columns = [
        t4r.ColumnSchema(name, tags=tags, domain=t4r.Domain(2, 9), value_count=(1, 8))
        for name, tags in (("a b", ("item_id",)), ("a:b", ("categorical",)))
    ]
    with pytest.raises(ValueError, match="both named 'a_b'"):
        t4r.Schema(columns).inputs()
