"""Bad sessions and bad arguments get one sentence that says where and what."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema

SCHEMA = Schema(
    (
        ColumnSchema("session_id", tags=("session_id",)),
        ColumnSchema(
            "item_id", "int64", ("item_id", "categorical"), Domain(2, 9), (1, 12)
        ),
        ColumnSchema("price", "float32", ("continuous",), None, (1, 12)),
        ColumnSchema("flag", "int64", ("categorical",), Domain(0, 1), (1, 12)),
        ColumnSchema("country", "int64", ("categorical",), Domain(1, 5)),
    )
)
GOOD = {
    "session_id": [7, 8, 9],
    "item_id": [[2, 3], [4, 5, 6], [7]],
    "price": [[0.1, 0.2], [0.3, 0.4, 0.5], [0.6]],
    "flag": [[0, 1], [1, 0, 1], [0]],
    "country": [1, 2, 3],
}


def table(**changed):
    columns = {**GOOD, **changed}
    return pa.table({k: v for k, v in columns.items() if v is not None})


def replaced(column, row, value):
    values = [list(v) if isinstance(v, list) else v for v in GOOD[column]]
    values[row] = value
    return {column: values}


nan = float("nan")
DATA_FAULTS = {
    "missing column": (
        {"price": None},
        ValueError,
        "has no column 'price', which the schema names",
    ),
    "text for ids": (
        {"item_id": [["a"], ["b"], ["c"]]},
        TypeError,
        "column 'item_id' holds values of type string, but the schema asks for "
        "integer ids; encode raw values with SessionETL first",
    ),
    "numbers for ids": (
        {"item_id": [[2.0, 3.0], [4.0, 5.0, 6.0], [7.0]]},
        TypeError,
        "column 'item_id' holds values of type double, but the schema asks for "
        "integer ids",
    ),
    "text for numbers": (
        {"price": [["a"] * 2, ["b"] * 3, ["c"]]},
        TypeError,
        "column 'price' holds values of type string, but the schema asks for numbers",
    ),
    "scalars for lists": (
        {"item_id": [1, 2, 3]},
        TypeError,
        "column 'item_id' holds single values of type int64, but the schema asks "
        "for a list a row",
    ),
    "lists of lists": (
        {"price": [[[0.1] * 4] * 2, [[0.2] * 4] * 3, [[0.3] * 4]]},
        TypeError,
        "column 'price' holds lists of lists of type list<element: double>, but the "
        "schema asks for one number an event",
    ),
    "lists for scalars": (
        {"country": [[1], [2], [3]]},
        TypeError,
        "column 'country' holds lists of type list<element: int64>, but the schema "
        "asks for one value a row",
    ),
    "null list": (
        replaced("item_id", 1, None),
        ValueError,
        "column 'item_id', row 2: the list is null",
    ),
    "empty list": (
        {"item_id": [[2, 3], [4], []]},
        ValueError,
        "column 'item_id', row 3: the list is empty",
    ),
    "null in a list": (
        replaced("item_id", 1, [4, None, 6]),
        ValueError,
        "column 'item_id', row 2: a value is null",
    ),
    "null scalar": (
        replaced("country", 2, None),
        ValueError,
        "column 'country', row 3: a value is null",
    ),
    "unequal lists": (
        replaced("price", 1, [0.1, 0.2]),
        ValueError,
        "column 'price', row 2: the list has 2 values, but column 'item_id' has 3",
    ),
    "id beyond the domain": (
        replaced("item_id", 1, [4, 10, 6]),
        ValueError,
        "column 'item_id', row 2: id 10 is beyond the schema's domain, which ends at 9",
    ),
    "negative id": (
        replaced("item_id", 2, [-1]),
        ValueError,
        "column 'item_id', row 3: id -1 inside a session, but ids begin at 1",
    ),
    "padding inside a session": (
        replaced("item_id", 0, [2, 0]),
        ValueError,
        "column 'item_id', row 1: id 0 inside a session, but id 0 is padding",
    ),
    "padding for a whole session": (
        replaced("country", 1, 0),
        ValueError,
        "column 'country', row 2: id 0, but id 0 is padding; encode the column again, "
        "what is not known as the unknown id",
    ),
    "negative id where 0 is allowed": (
        replaced("flag", 0, [0, -2]),
        ValueError,
        "column 'flag', row 1: id -2 inside a session, but ids begin at 0",
    ),
    "scalar beyond the domain": (
        replaced("country", 0, 6),
        ValueError,
        "column 'country', row 1: id 6 is beyond the schema's domain",
    ),
    "NaN": (
        replaced("price", 1, [0.1, nan, 0.3]),
        ValueError,
        "column 'price', row 2: a value is NaN, infinite or beyond",
    ),
    "infinity": (
        replaced("price", 2, [float("inf")]),
        ValueError,
        "column 'price', row 3: a value is NaN, infinite or beyond",
    ),
}


@pytest.mark.parametrize("fault", DATA_FAULTS)
def test_a_bad_value_is_named_by_file_column_and_row(fault, tmp_path):
    changed, kind, sentence = DATA_FAULTS[fault]
    path = tmp_path / "bad.parquet"
    pq.write_table(table(**changed), path)
    with pytest.raises(kind, match=re.escape(sentence)) as error:
        KerasSequenceLoader(path, SCHEMA, 2)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_the_good_table_is_good():
    assert KerasSequenceLoader(table(), SCHEMA, 2).num_sessions == 3


def test_rows_are_counted_over_the_whole_file_of_many_row_groups(tmp_path):
    items = [[2, 3]] * 50
    items[37] = [2, 99]
    path = tmp_path / "long.parquet"
    pq.write_table(pa.table({"item_id": items}), path, row_group_size=8)
    with pytest.raises(ValueError, match=r"long\.parquet, column 'item_id', row 38:"):
        KerasSequenceLoader(path, SCHEMA.select(["item_id"]), 2)


def test_a_bad_value_in_a_later_buffer_is_named_when_it_is_read(tmp_path):
    prices = [[0.5]] * 40
    prices[33] = [nan]
    path = tmp_path / "a.parquet"
    columns = {"item_id": [[2]] * 40, "price": prices}
    pq.write_table(pa.table(columns), path, row_group_size=10)
    schema = SCHEMA.select(["item_id", "price"])
    loader = KerasSequenceLoader(path, schema, 5, buffer_rows=10, shuffle=False)
    loader[0]
    with pytest.raises(ValueError, match="column 'price', row 34: a value is NaN"):
        list(loader)


def test_paths_that_lead_nowhere(tmp_path):
    cases = {
        str(tmp_path / "no.parquet"): "There is no file or folder .*no.parquet",
        str(tmp_path / "*.parquet"): r"No file matches the pattern .*\*.parquet",
        str(tmp_path): r"The folder .* holds no file of sessions",
    }
    for path, sentence in cases.items():
        with pytest.raises(FileNotFoundError, match=sentence):
            KerasSequenceLoader(path, SCHEMA, 2)
    with pytest.raises(ValueError, match="list of paths is empty"):
        KerasSequenceLoader([], SCHEMA, 2)


def test_files_that_are_cut_short_or_of_another_format(tmp_path):
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    pq.write_table(table(), whole)
    cut.write_bytes(whole.read_bytes()[:-50])
    (tmp_path / "text.parquet").write_text("session_id,item_id\n1,2\n")
    (tmp_path / "empty.parquet").write_bytes(b"")
    for name in ("cut", "text", "empty"):
        with pytest.raises(ValueError, match=f"{name}.parquet cannot be read as") as e:
            KerasSequenceLoader([whole, tmp_path / f"{name}.parquet"], SCHEMA, 2)
        assert "\n" not in str(e.value)


def test_damaged_pages_are_named_too(tmp_path):
    path = tmp_path / "damaged.parquet"
    pq.write_table(pa.table({"item_id": [[2, 3, 4]] * 500}), path, compression="gzip")
    content = bytearray(path.read_bytes())
    content[60:120] = b"\xff" * 60
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.parquet"):
        KerasSequenceLoader(path, SCHEMA.select(["item_id"]), 2)


def test_sessions_without_rows(tmp_path):
    path = tmp_path / "none.parquet"
    pq.write_table(table().slice(0, 0), path)
    with pytest.raises(ValueError, match=r"none\.parquet has no rows"):
        KerasSequenceLoader(path, SCHEMA, 2)
    with pytest.raises(ValueError, match="The table has no rows"):
        KerasSequenceLoader(table().slice(0, 0), SCHEMA, 2)


def test_files_with_and_without_session_ids_are_not_mixed(tmp_path):
    paths = [tmp_path / f"{name}.parquet" for name in ("with", "without", "more")]
    for path, changed in zip(paths, ({}, {"session_id": None}, {}), strict=True):
        pq.write_table(table(**changed), path)
    for order in (paths, paths[::-1], paths[1:]):
        with pytest.raises(ValueError) as error:
            KerasSequenceLoader(order, SCHEMA, 2)
        assert re.fullmatch(
            r".*(with|more)\.parquet has session ids in column 'session_id', but "
            r".*without\.parquet has no such column: write it into all files or .*",
            str(error.value),
        )
    assert KerasSequenceLoader(paths[1], SCHEMA, 2).num_sessions == 3


def test_session_ids_of_two_types_are_joined_or_refused(tmp_path):
    kinds = {"int": pa.int64(), "short": pa.int32(), "text": pa.string()}
    paths = {name: tmp_path / f"{name}.parquet" for name in kinds}
    for name, kind in kinds.items():
        pq.write_table(table(session_id=pa.array([7, 8, 9]).cast(kind)), paths[name])
    both = [paths["short"], paths["int"]]
    loader = KerasSequenceLoader(both, SCHEMA, 6, shuffle=False)
    assert loader.session_ids(0).tolist() == [7, 8, 9] * 2
    with pytest.raises(
        ValueError, match=r"type int64 in .*int\.parquet, but of type string in .*text"
    ):
        KerasSequenceLoader([paths["int"], paths["text"]], SCHEMA, 2)


def test_what_is_neither_paths_nor_a_table_is_refused():
    for sessions, sentence in {
        7: "The sessions are of type int;",
        None: "The sessions are of type NoneType;",
        ("a.parquet", 3): "The sessions are a list with an entry of type int;",
    }.items():
        with pytest.raises(TypeError, match=sentence):
            KerasSequenceLoader(sessions, SCHEMA, 2)
    with pytest.raises(ValueError, match="The dict makes no table of sessions"):
        KerasSequenceLoader({"item_id": [[2, 3]], "country": [1, 2]}, SCHEMA, 2)
    with pytest.raises(ValueError, match="The table has no column 'price'"):
        KerasSequenceLoader({"item_id": [[2, 3]]}, SCHEMA, 2)


def test_a_schema_that_does_not_know_the_longest_session_asks_for_it():
    items = ColumnSchema(
        "item_id", "int64", ("item_id", "categorical"), Domain(2, 9), (0, 0)
    )
    for target in (None, "last"):
        with pytest.raises(ValueError, match="how long a session may be"):
            KerasSequenceLoader(table(), Schema((items,)), 2, target=target)
        loader = KerasSequenceLoader(
            table(), Schema((items,)), 2, target=target, max_length=4
        )
        assert loader.max_length == 4


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"domain": None}, "'item_id' has to hold ids, .* its domain None"),
        ({"dtype": "string"}, "'item_id' has to hold ids, .*its dtype is 'string'"),
        ({"value_count": None}, "'item_id' has to be a list .*value_count"),
    ],
)
def test_an_item_column_that_is_none_is_told_what_it_lacks(changed, sentence):
    items = replace(SCHEMA["item_id"], **changed)
    schema = Schema((items, SCHEMA["price"]))
    with pytest.raises(ValueError, match=sentence):
        KerasSequenceLoader(table(), schema, 2)


def test_sessions_of_one_leave_nothing_to_evaluate():
    singles = table().slice(2)
    with pytest.raises(ValueError, match="None of the 1 sessions has a target and"):
        KerasSequenceLoader(singles, SCHEMA, 2, target="last")


ARGUMENT_FAULTS = {
    "batch_size is 0; it should be 1 or more": dict(batch_size=0),
    "batch_size is 2.5; it should be a whole number": dict(batch_size=2.5),
    "max_length is 0": dict(max_length=0),
    "rank is 2, but world_size is 2; ranks go from 0 to 1": dict(rank=2, world_size=2),
    "rank is -1": dict(rank=-1),
    "target is 'next'; it should be one of [None, 'last']": dict(target="next"),
    "engine is 'csv'; it should be one of ['arrow', 'merlin']": dict(engine="csv"),
    "seed is -3": dict(seed=-3),
    "buffer_rows is 0": dict(buffer_rows=0),
    "3 sessions fill no batch of 4": dict(batch_size=4, drop_last=True),
    "The schema has no column 'colour'": dict(columns=["colour"]),
}


@pytest.mark.parametrize("sentence", ARGUMENT_FAULTS)
def test_bad_arguments_are_refused(sentence):
    arguments = {"batch_size": 2, **ARGUMENT_FAULTS[sentence]}
    with pytest.raises((ValueError, TypeError), match=re.escape(sentence)):
        KerasSequenceLoader(table(), SCHEMA, **arguments)


def test_a_session_id_that_is_null_stays_null_and_leaves_the_others_as_they_are():
    loader = KerasSequenceLoader(table(session_id=[7, None, 2**60 + 1]), SCHEMA, 3)
    assert sorted(loader.session_ids(0), key=str) == [2**60 + 1, 7, None]


def test_sets_are_no_sessions():
    columns = {**GOOD, "item_id": [{2, 3}, {4, 5, 6}, {7}]}
    for make in (dict, pd.DataFrame):
        with pytest.raises(ValueError, match="'item_id' holds a set, which has no ord"):
            KerasSequenceLoader(make(columns), SCHEMA, 2)


def test_session_ids_need_a_column():
    loader = KerasSequenceLoader(table(session_id=None), SCHEMA, 2)
    with pytest.raises(ValueError, match="carry no session id"):
        loader.session_ids(0)
    with pytest.raises(ValueError, match="has no column 'session_id'"):
        KerasSequenceLoader(
            table(session_id=None), SCHEMA, 2, columns=["item_id", "session_id"]
        )


def test_faults_are_found_without_walking_over_rows():
    count = 200_000
    items = pa.ListArray.from_arrays(
        np.arange(0, 3 * count + 1, 3, dtype=np.int32),
        pa.array(np.full(3 * count, 5)),
    )
    data = pa.table({"item_id": items})
    loader = KerasSequenceLoader(data, SCHEMA.select(["item_id"]), 1024)
    assert loader.num_sessions == count
