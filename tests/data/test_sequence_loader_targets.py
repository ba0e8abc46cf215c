"""Targets, weights and what comes next, held against a reference in plain Python."""

import re
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema

LIST = (1, 12)
SCHEMA = Schema(
    (
        ColumnSchema("session_id", tags=("session_id",)),
        ColumnSchema(
            "item_id", "int64", ("item_id", "categorical"), Domain(2, 90), LIST
        ),
        ColumnSchema("category", "int64", ("categorical",), Domain(2, 9), LIST),
        ColumnSchema("price", "float32", ("continuous",), None, LIST),
        ColumnSchema("country", "int64", ("categorical",), Domain(1, 5)),
        ColumnSchema("bought", "int64"),
        ColumnSchema("spent", "float32", ("target",)),
        ColumnSchema("grade", "int64", ("categorical",), Domain(0, 3)),
        ColumnSchema("clicked", "int64", (), None, LIST),
        ColumnSchema("dwell", "float32", (), None, LIST),
        ColumnSchema("importance", "float32"),
        ColumnSchema("name", "string"),
    )
)
TARGETS = ["bought", "spent", "grade", "clicked", "dwell"]
WHOLE = {"bought", "grade", "clicked", "item_id", "category", "country"}


def make_table(count=101, low=1, seed=0):
    rng = np.random.default_rng(seed)
    items = [rng.integers(1, 91, n).tolist() for n in rng.integers(low, 13, count)]

    def by_event(function, kind):
        values = [[function(i + at) for at, i in enumerate(s)] for s in items]
        return pa.array(values, pa.list_(kind))

    return pa.table(
        {
            "session_id": np.arange(count) + 1000,
            "item_id": pa.array(items, pa.list_(pa.int64())),
            "category": by_event(lambda i: i % 8 + 2, pa.int16()),
            "price": by_event(lambda i: i / 4, pa.float64()),
            "country": pa.array([s[0] % 5 + 1 for s in items]),
            "bought": pa.array([s[-1] % 2 == 0 for s in items]),
            "spent": pa.array([sum(s) / 8 for s in items]),
            "grade": pa.array([len(s) % 4 for s in items], pa.int8()),
            "clicked": by_event(lambda i: i % 3 == 0, pa.bool_()),
            "dwell": by_event(lambda i: i / 2 - 3, pa.float32()),
            "importance": pa.array(rng.integers(0, 9, count) / 8),
            "name": pa.array([f"n{i}" for i in range(count)]),
        }
    )


def reference(row, inputs, max_length, last, targets, ahead, weight):
    """What a loader should give for one row, in plain Python."""
    events = len(row["item_id"]) - last
    span = slice(max(0, events - max_length), events)

    def cut(name):
        return row[name][span] if SCHEMA[name].is_list else row[name]

    y = {name: row[name][-1] for name in ahead} if last else {}
    y.update((name, cut(name)) for name in targets)
    return {name: cut(name) for name in inputs}, y, weight and row[weight]


def given(loader):
    """`{session id: (x, y, weight)}` of an epoch, padding checked and cut off."""
    found = {}
    for index in range(len(loader)):
        x, *rest = loader[index]
        y = rest[0] if rest else {}
        y = y if isinstance(y, dict) else {"item_id": y}
        weights = rest[1] if len(rest) > 1 else None
        lengths = (x["item_id"] != 0).sum(axis=1)
        for name, values in {**x, **y}.items():
            kind = np.int32 if name in WHOLE else np.float32
            assert values.dtype == kind, name
            if values.ndim == 2:
                assert values.shape == x["item_id"].shape, name
        for row, key in enumerate(loader.session_ids(index).tolist()):

            def cut(values, row=row, length=lengths[row]):
                if values.ndim == 1:
                    return values[row].item()
                assert not values[row, length:].any()
                return values[row, :length].tolist()

            session = (
                {name: cut(v) for name, v in x.items()},
                {name: cut(v) for name, v in y.items()},
                None if weights is None else weights[row].item(),
            )
            assert found.setdefault(key, session) == session
    return found


CASES = [
    dict(zip(("target", "targets", "next_columns", "sample_weight"), case, strict=True))
    for case in product(
        (None, "last"), (None, TARGETS), (None, ["category"]), (None, "importance")
    )
    if case[0] or not case[2]
]


@pytest.mark.parametrize("engine", ["arrow", "merlin"])
@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_batches_are_those_of_the_reference(tmp_path, arguments, engine):
    if engine == "merlin":
        pytest.importorskip("merlin.dataloader", exc_type=ImportError)
    table, path = make_table(), tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=13)
    last = arguments["target"] == "last"
    inputs = ["item_id", "category", "price", "country", "spent", "grade", "dwell"]
    x_names = [
        n for n in inputs if not (arguments["targets"] and n in arguments["targets"])
    ]
    ahead = ["item_id", *(arguments["next_columns"] or [])] if last else []
    rows = [r for r in table.to_pylist() if len(r["item_id"]) > last]
    for more in (
        {"max_length": 5},
        {"shuffle": True, "buffer_rows": 30},
        {"shuffle": False, "bucket": False},
    ):
        loader = KerasSequenceLoader(
            path, SCHEMA, 8, columns=inputs, engine=engine, **arguments, **more
        )
        expected = {
            row["session_id"]: reference(
                row,
                x_names,
                loader.max_length,
                last,
                arguments["targets"] or [],
                ahead,
                arguments["sample_weight"],
            )
            for row in rows
        }
        for epoch in range(2):
            loader.set_epoch(epoch)
            assert given(loader) == expected, more


def test_targets_stay_aligned_on_every_rank():
    table = make_table(100)
    arguments = dict(target="last", targets=TARGETS, sample_weight="importance")
    whole = given(KerasSequenceLoader(table, SCHEMA, 6, **arguments))
    found = {}
    for rank in range(3):
        loader = KerasSequenceLoader(
            table, SCHEMA, 6, rank=rank, world_size=3, shuffle=True, **arguments
        )
        found.update(given(loader))
    assert found == whole


def test_what_a_batch_is_made_of():
    table = make_table()

    def batch(**arguments):
        return KerasSequenceLoader(table, SCHEMA, 8, **arguments)[0]

    (x,) = batch()
    assert list(x) == SCHEMA.features.names
    x, y = batch(target="last")
    assert y.shape == (8,) and y.dtype == np.int32
    x, y = batch(targets=["spent", "clicked"])
    assert list(y) == ["spent", "clicked"] and "spent" not in x
    x, y = batch(target="last", targets=["bought"], next_columns=["category"])
    assert list(y) == ["item_id", "category", "bought"] and "category" in x
    x, y, weights = batch(sample_weight="importance")
    assert y == {} and weights.dtype == np.float32 and "importance" not in x
    x, y, weights = batch(target="last", sample_weight="bought")
    assert y.shape == weights.shape == (8,) and set(weights) <= {0.0, 1.0}


FAULTS = {
    "targets is 'bought'; it should be a list of columns": dict(targets="bought"),
    "The schema has no column 'sold'": dict(targets=["sold"]),
    "The item column 'item_id' is no column of targets": dict(targets=["item_id"]),
    "Column 'name' holds no numbers to learn from": dict(targets=["name"]),
    "Column 'session_id' holds no numbers": dict(targets=["session_id"]),
    "next_columns=['category'] are values of the event that came next: pass "
    'target="last" too': dict(next_columns=["category"]),
    "Column 'country' has one value a session, so none comes next": dict(
        target="last", next_columns=["country"]
    ),
    "Column 'category' stands in targets and in next_columns": dict(
        target="last", next_columns=["category"], targets=["category"]
    ),
    "sample_weight='dwell' has one value an event": dict(sample_weight="dwell"),
    "No column is left for x": dict(columns=["spent"], targets=["spent"]),
    "unknown_targets='drop' leaves out sessions by their target, but there is": dict(
        unknown_targets="drop"
    ),
    "workers is 'x'; it should be a whole number": dict(workers="x"),
    "max_queue_size is 0; it should be 1 or more": dict(max_queue_size=0),
    "use_multiprocessing is 'no'; it should be True": dict(use_multiprocessing="no"),
    "unknown_targets is 'keep'; it should be one of ['miss', 'drop']": dict(
        unknown_targets="keep"
    ),
    "Column 'bought' is no feature": dict(columns=["item_id", "bought"]),
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_roles_that_a_column_cannot_play_are_refused(sentence):
    with pytest.raises((ValueError, TypeError), match=re.escape(sentence)):
        KerasSequenceLoader(make_table(), SCHEMA, 8, **FAULTS[sentence])


@pytest.mark.parametrize(
    "column, values, sentence",
    [
        ("bought", ["a", "b"], "column 'bought' holds values of type string, but the"),
        ("bought", [0.5, 1.0], "but the schema asks for whole numbers"),
        ("bought", [1, None], "column 'bought', row 2: a value is null"),
        ("bought", [1, 2**40], "column 'bought', row 2: a value does not fit into"),
        ("spent", [1.0, float("nan")], "column 'spent', row 2: a value is NaN"),
        ("clicked", [[1], [1]], "column 'clicked', row 1: the list has 1 values"),
    ],
)
def test_bad_targets_are_named(column, values, sentence):
    table = pa.table({"item_id": [[2, 3], [4, 5]], column: values})
    schema = SCHEMA.select(["item_id", column])
    with pytest.raises((ValueError, TypeError), match=re.escape(sentence)):
        KerasSequenceLoader(table, schema, 2, columns=["item_id"], targets=[column])


def test_negative_weights_are_refused():
    table = pa.table({"item_id": [[2, 3], [4, 5]], "importance": [0.5, -1.0]})
    schema = SCHEMA.select(["item_id", "importance"])
    with pytest.raises(ValueError, match="column 'importance', row 2: a weight is bel"):
        KerasSequenceLoader(table, schema, 2, sample_weight="importance")


@pytest.mark.parametrize("target", [None, "last"])
@pytest.mark.parametrize("more", [{}, {"targets": TARGETS}], ids=str)
def test_batches_are_filled_up_with_empty_sessions(target, more):
    table = make_table(21, low=2)
    plain = KerasSequenceLoader(table, SCHEMA, 8, target=target, shuffle=False, **more)
    filled = KerasSequenceLoader(
        table, SCHEMA, 8, target=target, shuffle=False, batch_multiple=4, **more
    )
    for index, real in ((0, 8), (2, 5)):
        x, *y = filled[index]
        known_x, *known_y = plain[index]
        parts = [(x, known_x)]
        if y:
            y = [p if isinstance(p, dict) else {"item_id": p} for p in y]
            known_y = [p if isinstance(p, dict) else {"item_id": p} for p in known_y]
            parts.append((y[0], known_y[0]))
        for part, known in parts:
            for name, values in part.items():
                assert len(values) == 8
                np.testing.assert_array_equal(values[:real], known[name])
                assert not values[real:].any()
        assert len(filled.session_ids(index)) == real
        if more:
            weights = filled[index][2]
            assert weights.tolist() == [1.0] * real + [0.0] * (8 - real)
    weighted = KerasSequenceLoader(
        table, SCHEMA, 8, shuffle=False, batch_multiple=4, sample_weight="spent"
    )
    assert weighted[2][2][:5].all() and not weighted[2][2][5:].any()
