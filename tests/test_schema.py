import importlib.util
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from google.protobuf import json_format, text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from keras_t4r import (
    ClickLog,
    SessionETL,
    SyntheticClicks,
    WindowReport,
    write_text_vectors,
)
from keras_t4r.retrieval import ExactIndex, load_index
from keras_t4r.schema import ColumnSchema, Domain, Schema, Tags, Vocabulary

ITEM = ColumnSchema(
    "item_id",
    tags=(Tags.ITEM_ID, Tags.CATEGORICAL, Tags.LIST),
    domain=Domain(2, 9, "item"),
    value_count=(1, 20),
)
AGE = ColumnSchema("age", "float32", ("continuous",), Domain(-1.5, 2.5), (1, 20))
COUNTRY = ColumnSchema("country", tags=("categorical",), domain=Domain(2, 4))
SESSION = ColumnSchema("session_id", tags=(Tags.SESSION_ID,))
SCHEMA = Schema((ITEM, AGE, COUNTRY, SESSION))


def test_proto_text_round_trip_loses_nothing(tmp_path):
    SCHEMA.save(tmp_path / "schema.pbtxt")
    loaded = Schema.load(tmp_path / "schema.pbtxt")
    assert loaded == SCHEMA
    assert loaded.folder == tmp_path
    assert [p.name for p in tmp_path.iterdir()] == ["schema.pbtxt"]


def test_how_columns_were_encoded_goes_into_the_file_and_to_merlin(tmp_path):
    known = {"item_id": "8-" + "0" * 32, "age": "mean 1.5, deviation 2e-05"}
    schema = Schema([replace(c, encoding=known.get(c.name)) for c in SCHEMA])
    schema.save(tmp_path / "schema.pbtxt")
    as_json = json_format.MessageToJson(
        text_format.Parse(schema.to_text(), schema_pb2.Schema())
    )
    found = [Schema.load(tmp_path / "schema.pbtxt"), Schema.from_text(as_json)]
    if importlib.util.find_spec("merlin") is not None:
        found.append(Schema.from_merlin(schema.to_merlin()))
    for one in found:
        assert {c.name: c.encoding for c in one if c.encoding} == known
    with pytest.raises(TypeError, match="The encoding of column 'age' is 5"):
        replace(AGE, encoding=5)


def test_columns_are_found_by_role():
    assert SCHEMA.item_id == "item_id"
    assert SCHEMA.session_id == "session_id"
    assert SCHEMA.features.names == ["item_id", "age", "country"]
    assert SCHEMA.select_by_tag("CONTINUOUS").names == ["age"]
    assert SCHEMA.max_length == 20
    assert ITEM.cardinality == 10 and ITEM.first_id == 2


def test_the_column_of_items_is_one_of_ids_whatever_else_it_is_tagged():
    column = ColumnSchema("item", tags=(Tags.ITEM_ID,), domain=Domain(2, 9))
    schema = Schema((column,))
    assert (schema.item_id, schema.features.names) == ("item", ["item"])


def test_inputs_follow_the_columns():
    inputs = SCHEMA.inputs()
    assert inputs["item_id"].shape == (None, None)
    assert inputs["item_id"].dtype == "int32"
    assert inputs["age"].dtype == "float32"
    assert inputs["country"].shape == (None,)


def test_the_tutorials_schema_reads_as_it_is(shared_data):
    schema = Schema.load(shared_data / "t4rec_yoochoose" / "schema_demo.pb")
    assert schema.item_id == "item_id-list_seq"
    assert schema.session_id == "session_id"
    assert schema["category-list_seq"].cardinality == 338
    # Without a `continuous` tag, as there, it is no feature.
    assert schema["et_dayofweek_sin-list_seq"].dtype == "float32"
    assert "et_dayofweek_sin-list_seq" not in schema.features
    assert Schema.from_text(schema.to_text()) == schema


def test_a_feature_that_a_file_lists_twice_is_one():
    # The paper's `adressa` lists `country` twice, its `g1` `weekday_sin`.
    text = SCHEMA.to_text()
    start = text.index("feature {", text.index('"age"'))
    again = Schema.from_text(text + text[start : text.index("feature {", start + 1)])
    assert again == SCHEMA


def test_the_longest_list_that_says_so_counts():
    unknown = replace(AGE, value_count=(0, 0))
    assert Schema((ITEM, unknown)).max_length == 20


@pytest.mark.parametrize(("buckets", "first_id"), [(None, 3), (4, 6)])
def test_nvtabulars_null_and_unknown_ids_are_no_items(tmp_path, buckets, first_id):
    pytest.importorskip("nvtabular", reason="nvtabular is not installed")
    from keras_t4r.data.nvtabular.frames import quiet

    with quiet():
        import nvtabular

        ids = ["item_id"] >> nvtabular.ops.Categorify(
            out_path=str(tmp_path),
            num_buckets=buckets,
            **({} if buckets is None else {"max_size": 9}),
        )
        workflow = nvtabular.Workflow(ids + ["s"])
        clicks = pd.DataFrame({"s": [1, 1, 2, 2], "item_id": ["a", "b", "a", "c"]})
        workflow.fit(nvtabular.Dataset(clicks, cpu=True))
        strange = pd.DataFrame({"s": [1, 1, 1], "item_id": ["a", None, "new"]})
        dataset = nvtabular.Dataset(strange, cpu=True)
        encoded = workflow.transform(dataset).to_ddf().compute()["item_id"].tolist()
    schema = Schema.from_merlin(workflow.output_schema)
    column = schema["item_id"]
    assert column.first_id == encoded[0] == first_id
    assert max(encoded[1:]) < first_id
    assert column.cardinality - column.first_id == 3
    assert Schema.from_text(schema.to_text()) == schema


def test_merlin_round_trip():
    pytest.importorskip("merlin.schema", reason="merlin-core is not installed")
    merlin = SCHEMA.to_merlin()
    assert set(merlin.column_names) == set(SCHEMA.names)
    back = Schema.from_merlin(merlin)
    assert back.item_id == "item_id" and back.session_id == "session_id"
    assert back["item_id"].domain == ITEM.domain
    assert back["item_id"].value_count == ITEM.value_count
    assert back["country"].is_categorical and not back["country"].is_list
    assert back["age"].domain == AGE.domain


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SCHEMA["nope"], "no column 'nope'; its columns are"),
        (
            lambda: Schema((ITEM, replace(ITEM, domain=Domain(2, 10, "item")))),
            r"'item_id' stands twice.*max=9.*max=10",
        ),
        (
            lambda: Schema((replace(ITEM, value_count=(0, 0)),)).max_length,
            r"value_count of \['item_id'\] ends at 0.*pass max_length",
        ),
        (lambda: Schema((AGE,)).item_id, "0 columns of the schema are tagged"),
        (lambda: ColumnSchema("a", "int12"), "dtype 'int12'"),
        (lambda: ColumnSchema("a", domain=Domain(3, 1)), "empty domain"),
        (lambda: ColumnSchema(""), "empty name"),
        (lambda: ColumnSchema("a", value_count=(5, 2)), "least, 5, is above the most"),
        (lambda: ColumnSchema("a", value_count=(-5, 2)), "value_count of column 'a'"),
        (lambda: Domain(float("nan"), 3), "min of a Domain is NaN"),
        (lambda: replace(ITEM, domain=Domain(1, 2**33)), "whole numbers from 0 to"),
        (lambda: replace(ITEM, domain=Domain(2, 10.5)), "whole numbers from 0 to"),
        (lambda: replace(ITEM, domain=Domain(-3, 5)), "whole numbers from 0 to"),
        (lambda: Schema.from_text("feature { name"), "not a tensorflow-metadata"),
        (lambda: Schema.from_text("feature { name: 'a' }"), "has no type"),
    ],
)
def test_faults_are_said_in_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ColumnSchema(5), "name of a column is 5"),
        (lambda: ColumnSchema("a", value_count=20), "value_count .* should be a pair"),
        (lambda: ColumnSchema("a", value_count=(1, 2.5)), "be a whole number"),
        (lambda: Domain("2", 3), "min of a Domain is '2'"),
    ],
)
def test_faults_of_type_are_said_in_one_sentence(make, sentence):
    with pytest.raises(TypeError, match=sentence):
        make()


@pytest.mark.parametrize("text", [None, 5, b"feature {}", ["feature {}"]])
def test_what_is_no_text_of_a_schema_is_told_so(text):
    with pytest.raises(TypeError, match=r"the text of a schema is .* proto-text or"):
        Schema.from_text(text)
    with pytest.raises(TypeError, match=r"is no merlin\.schema\.Schema"):
        Schema.from_merlin(text)


@pytest.mark.parametrize("text", ["", " \n", "# a comment", "{}", '{"feature": []}'])
def test_a_schema_of_nothing_is_none(text, tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_text(text)
    for read, name in ((Schema.load, path), (Schema.from_text, text)):
        with pytest.raises(ValueError, match="names no column, so it is no schema"):
            read(name)
    assert Schema().names == []


@pytest.mark.parametrize("path", [None, 5, b"schema.pbtxt", ["schema.pbtxt"]])
def test_what_is_no_path_is_told_so(path):
    for use, what in (
        (Schema.load, "a schema"),
        (SCHEMA.save, "what is to be written"),
        (Vocabulary.load, "a vocabulary"),
        (Vocabulary([1]).save, "what is to be written"),
        (SessionETL.load, "a fitted ETL"),
        (lambda p: SessionETL("s", "t", "i").write({}, p), "sessions"),
        (WindowReport.load, "a report"),
        (WindowReport([]).save, "what is to be written"),
        (ExactIndex().build([1], np.ones((1, 2))).save, "what is to be written"),
        (ExactIndex.load, "an index"),
        (load_index, "an index"),
        (lambda p: write_text_vectors(p, {"a": "b"}, None), "vectors"),
        (SyntheticClicks(num_sessions=20, num_items=300).write, "a log"),
    ):
        for wrong, kind in ((path, TypeError), ("", ValueError)):
            with pytest.raises(kind, match=f"The path of {what} is"):
                use(wrong)
    if not isinstance(path, list):
        with pytest.raises(
            TypeError, match=r"The path of clicks is .*; it should be text"
        ):
            ClickLog(path)


def test_a_folder_is_no_schema_and_is_not_replaced_by_one(tmp_path):
    SCHEMA.save(tmp_path / "schema.pbtxt")
    with pytest.raises(ValueError, match=r"is a folder, and no schema: .*pbtxt"):
        Schema.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder: name a file to write"):
        SCHEMA.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["schema.pbtxt"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Schema(None), "columns of a schema are None; they should be a list"),
        (lambda: Schema(ITEM), r"columns of a schema are ColumnSchema\("),
        (lambda: Schema([ITEM, "age"]), "columns of a schema are 'age'"),
        (lambda: Schema({"item_id": ITEM}), "columns of a schema are {'item_id'"),
        (lambda: Schema([ITEM], folder=5), "path of vocabularies is 5"),
        (lambda: Schema([ITEM], vocabularies=[1]), "vocabularies of a schema are"),
        (lambda: Schema([ITEM], vocabularies={"item_id": [1]}), "vocabularies of a"),
        (lambda: SCHEMA.select(5), "names is 5; it should be a list of names"),
        (lambda: ColumnSchema("a", tags=5), "tags of column 'a' are 5"),
        (lambda: ColumnSchema("a", domain=(1, 2)), r"domain of column 'a' is \(1, 2\)"),
        (lambda: Domain(1, 2, 5), "name of a Domain is 5; it should be text"),
    ],
)
def test_parts_of_a_schema_that_are_none_are_refused(make, sentence):
    with pytest.raises(TypeError, match=sentence):
        make()


def test_one_name_stands_for_a_list_of_it():
    assert SCHEMA.select("age").names == ["age"]
    assert "age" in SCHEMA and "age" not in SCHEMA.without("age")
    assert SCHEMA.select(n for n in ("age", "item_id")).names == ["age", "item_id"]
    assert Schema([ITEM], folder="sessions").vocabulary("item_id") is None


def test_numbers_that_are_no_ids_may_be_large():
    column = ColumnSchema("time", domain=Domain(0, 2**40), value_count=[2, 0])
    assert Schema.from_text(Schema((column,)).to_text())["time"] == column


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pbtxt"):
        Schema.load(tmp_path / "nowhere.pbtxt")


def test_features_are_what_is_tagged(tmp_path):
    text = """
    feature { name: "item" type: INT value_count { min: 2 max: 20 }
      int_domain { name: "item" min: 1 max: 30 is_categorical: true }
      annotation { tag: "item_id" tag: "list" tag: "categorical" } }
    feature { name: "when" type: FLOAT value_count { min: 2 max: 20 }
      annotation { tag: "time" tag: "list" } }
    feature { name: "price" type: FLOAT value_count { min: 2 max: 20 }
      annotation { tag: "continuous" } }
    feature { name: "clicks" type: INT value_count { min: 2 max: 20 }
      annotation { tag: "continuous" } }
    feature { name: "seconds" type: FLOAT value_count { min: 2 max: 20 }
      annotation { tag: "timestamp" } }
    """
    schema = Schema.from_text(text)
    assert schema.features.names == ["item", "price", "clicks", "seconds"]
    inputs = schema.inputs()
    assert [x.dtype for x in inputs.values()] == ["int32"] + ["float32"] * 3


def test_a_schema_that_is_no_text_gets_one_sentence(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_bytes(b'feature { name: "\xff" }')
    with pytest.raises(ValueError, match="is no schema: it is not UTF-8"):
        Schema.load(path)


@pytest.mark.parametrize("domain", ["../../outside", "a/../../b", "/etc/passwd"])
def test_a_domain_leads_nowhere_else(domain, tmp_path):
    column = ColumnSchema(
        "item", tags=("item_id",), domain=Domain(2, 9, domain), value_count=(1, 8)
    )
    Schema((column,)).save(tmp_path / "schema.pbtxt")
    with pytest.raises(ValueError, match="leads out of the folder"):
        Schema.load(tmp_path / "schema.pbtxt").vocabulary("item")
    # Transformers4Rec's own, which has no vocabulary here.
    column = replace(column, domain=Domain(2, 9, "item/list"))
    Schema((column,)).save(tmp_path / "schema.pbtxt")
    assert Schema.load(tmp_path / "schema.pbtxt").vocabulary("item") is None
