"""NVTabularWorkflow makes the sessions of SessionETL, id for id."""

import json

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.schema import Schema
from keras_t4r.schema.encoded_ids import encoded_columns
from keras_t4r.schema.standardised import same_numbers

pytest.importorskip(
    "nvtabular",
    reason="nvtabular is not installed (it ends with Python 3.11)",
    exc_type=ImportError,
)

from keras_t4r.data.nvtabular.workflow import NVTabularWorkflow

DAY = 86_400
OPTIONS = {
    "everything": dict(
        session="visit",
        time="seconds",
        item="product",
        categorical=["brand"],
        continuous=["price"],
        context_categorical=["country"],
        context_continuous=["age"],
        time_unit="s",
        time_features=["dayofweek_sin", "dayofweek_cos", "hour_sin", "hour_cos"],
        min_count=2,
        max_length=4,
        window="12h",
    ),
    "the item alone": dict(
        session="visit",
        time="seconds",
        item="product",
        time_unit="s",
        recency=False,
        time_features=(),
        drop_repeats=False,
        min_length=1,
    ),
}


def make_clicks(count=600, seed=0):
    """Text and integer ids, nulls in every column that may have them, ties."""
    rng = np.random.default_rng(seed)
    visits = rng.integers(10**12, 10**12 + count // 5, count)
    items = rng.zipf(1.4, count) % 60
    prices = [None if i % 7 == 0 else 1e6 + i / 3 for i in items.tolist()]
    return pl.DataFrame(
        {
            "visit": visits,
            "seconds": 1_600_000_000 + rng.integers(0, 6 * DAY, count) / 4,
            "product": [f"p{i}" for i in items],
            "brand": [None if i % 5 == 0 else int(i) * 10**15 for i in items],
            "price": prices,
            "country": [["de", "fr", None][v % 3] for v in visits.tolist()],
            "age": [None if v % 4 == 0 else float(v % 9) for v in visits.tolist()],
            "noise": rng.random(count),
        }
    )


def assert_same(ours, theirs):
    assert ours.schema == theirs.schema
    for name in ours.column_names:
        one, other = (t[name].combine_chunks() for t in (ours, theirs))
        if pa.types.is_list(one.type):
            assert one.offsets.equals(other.offsets), name
            one, other = one.flatten(), other.flatten()
        if pa.types.is_floating(one.type):
            # Both sum in float64, in another order.
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6, err_msg=name)
        else:
            assert one.equals(other), name


def assert_same_encodings(ours, theirs):
    assert set(ours) == set(theirs)
    for name, encoding in ours.items():
        assert same_numbers(encoding, theirs[name]), name


def assert_same_state(ours, theirs):
    assert ours.schema == theirs.schema
    assert ours.input_columns == theirs.input_columns
    for name, moments in ours._state.moments.items():
        np.testing.assert_allclose(moments, theirs._state.moments[name], rtol=1e-9)
    for name, vocabulary in ours._state.vocabularies.items():
        other = theirs._state.vocabularies[name]
        assert vocabulary.values.equals(other.values), name
        assert vocabulary.counts.equals(other.counts), name


@pytest.fixture(params=OPTIONS)
def pair(request):
    """Both engines, fitted on the same clicks."""
    options = OPTIONS[request.param]
    return [
        cls(**options).fit(make_clicks()) for cls in (SessionETL, NVTabularWorkflow)
    ]


def test_both_engines_learn_the_same(pair):
    assert_same_state(*pair)


def test_both_engines_make_the_same_sessions(pair):
    ours, theirs = pair
    tables = [etl.transform(make_clicks(), 2) for etl in pair]
    assert_same(*tables)
    marks = [encoded_columns(table.schema) for table in tables]
    assert_same_encodings(*marks)
    assert set(marks[0]) == {*ours.config.ids, *ours._state.moments}
    # Clicks of another log: unknown values, sessions of one, other orders.
    new = make_clicks(200, seed=1).with_columns(
        pl.when(pl.col("noise") < 0.2)
        .then(pl.lit("new"))
        .otherwise(pl.col("product"))
        .alias("product")
    )
    sessions = [etl.transform(new) for etl in pair]
    assert_same(*sessions)
    item = ours.config.item
    assert 1 in sessions[0][item].combine_chunks().flatten().to_pylist()
    assert theirs.transform(new, 2).num_rows < sessions[0].num_rows


def test_a_request_of_one_click_may_be_all_null(pair):
    request = {
        "visit": [5],
        "seconds": [1.7e9],
        "product": ["p3"],
        "brand": [None],
        "price": [None],
        "country": [None],
        "age": [None],
    }
    assert_same(*(etl.transform(request) for etl in pair))
    empty = {name: [] for name in request}
    assert_same(*(etl.transform(empty) for etl in pair))


def test_both_engines_write_the_same_files(tmp_path):
    options, split = OPTIONS["everything"], (0.6, 0.2, 0.2)
    for cls in (SessionETL, NVTabularWorkflow):
        folder = tmp_path / cls.__name__
        cls(**options).write(make_clicks(), folder, split, progress=False)
    ours, theirs = tmp_path / "SessionETL", tmp_path / "NVTabularWorkflow"
    files = sorted(p.relative_to(ours) for p in ours.rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(theirs) for p in theirs.rglob("*") if p.is_file()
    )
    assert sum(path.name == "train.parquet" for path in files) > 2
    for path in files:
        if path.suffix == ".parquet":
            assert_same(pq.read_table(ours / path), pq.read_table(theirs / path))
    schemas = [Schema.load(folder / "schema.pbtxt") for folder in (ours, theirs)]
    assert schemas[0] == schemas[1]
    assert_same_encodings(*({c.name: c.encoding for c in one} for one in schemas))


def test_a_log_in_parts_gives_what_it_gives_in_one(tmp_path):
    path = tmp_path / "clicks.parquet"
    make_clicks(900).write_parquet(path)
    whole = NVTabularWorkflow(**OPTIONS["everything"]).fit(path)
    parts = NVTabularWorkflow(**OPTIONS["everything"], rows_in_memory=200)
    sizes = parts.write(path, tmp_path / "out", progress=False)
    assert_same_state(whole, parts)
    ours = SessionETL(**OPTIONS["everything"])
    assert sizes == ours.write(path, tmp_path / "ours", progress=False)
    for window in sizes:
        name = f"{window}/sessions.parquet"
        assert_same(
            pq.read_table(tmp_path / "ours" / name),
            pq.read_table(tmp_path / "out" / name),
        )


def test_either_engine_loads_what_the_other_saved(pair, tmp_path):
    ours, theirs = pair
    theirs.save(tmp_path / "theirs")
    ours.save(tmp_path / "ours")
    clicks = make_clicks(100, seed=2)
    expected = ours.transform(clicks)
    assert_same(expected, SessionETL.load(tmp_path / "theirs").transform(clicks))
    assert_same(expected, NVTabularWorkflow.load(tmp_path / "ours").transform(clicks))
    files = [path for path in (tmp_path / "theirs").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".parquet"}
    json.loads((tmp_path / "theirs" / "etl.json").read_text())


def test_the_workflow_is_nvtabulars_own_with_its_operators(pair):
    import nvtabular
    from nvtabular import ops

    workflow = pair[1].workflow
    assert isinstance(workflow, nvtabular.Workflow)
    nodes, used = [workflow.output_node], set()
    while nodes:
        node = nodes.pop()
        used.add(type(node.op))
        nodes += node.parents_with_dependencies
    expected = {ops.Categorify, ops.Groupby, ops.LambdaOp, ops.Rename}
    if pair[1].config.recency:
        expected |= {ops.Normalize, ops.JoinExternal, ops.FillMissing}
    assert expected <= used
    assert any(issubclass(kind, ops.ListSlice) for kind in used)


def test_constant_numbers_far_from_zero_are_standardised_to_zero():
    clicks = make_clicks().with_columns(price=pl.lit(123_456_789.125))
    options = {**OPTIONS["everything"], "min_count": 1}
    etls = [cls(**options).fit(clicks) for cls in (SessionETL, NVTabularWorkflow)]
    assert_same_state(*etls)
    prices = etls[1].transform(clicks)["price"].combine_chunks().flatten()
    assert not prices.to_numpy().any()


def test_text_sessions_and_columns_with_names_like_aggregates():
    clicks = pl.DataFrame(
        {
            "s_count": ["b", "a", "b", "é", "a", "Z"],
            "t": [5, 1, 2, 3, 4, 6],
            "l": [4, 4, 9, 9, 7, 7],
            "x_list": ["u", None, "v", "u", "u", "v"],
        }
    )
    options = dict(
        session="s_count",
        time="t",
        item="l",
        categorical=["x_list"],
        time_unit="s",
        min_length=1,
    )
    etls = [cls(**options).fit(clicks) for cls in (SessionETL, NVTabularWorkflow)]
    assert_same_state(*etls)
    assert_same(*(etl.transform(clicks) for etl in etls))


def test_bad_clicks_get_the_sentences_of_session_etl(tmp_path):
    clicks = make_clicks(50)
    for bad, message in (
        (clicks.drop("product"), "Column 'product' is missing"),
        (clicks.head(0), "There are no clicks to fit on"),
        (clicks.with_columns(price=pl.lit(float("inf"))), "Column 'price' is inf"),
    ):
        with pytest.raises(ValueError, match=message):
            NVTabularWorkflow(**OPTIONS["everything"]).fit(bad)
    with pytest.raises(ValueError, match="not fitted"):
        NVTabularWorkflow(**OPTIONS["everything"]).workflow  # noqa: B018


def test_real_clicks_give_the_same_sessions_and_ids(shared_data):
    """YOOCHOOSE: the first 20,000 clicks of the 100k sample."""
    path = shared_data / "rsc15_100k" / "yoochoose-clicks-100k_train_full.txt.gz"
    clicks = ClickLog(path).scan(
        ["SessionId", "ItemId", "Time"],
        {"SessionId": "int64", "ItemId": "int64", "Time": "float64"},
    )
    clicks = clicks.head(20_000).collect().drop("__row")
    etls = [
        cls("SessionId", "Time", "ItemId", time_unit="s").fit(clicks)
        for cls in (SessionETL, NVTabularWorkflow)
    ]
    assert_same_state(*etls)
    sessions = [etl.transform(clicks, 2) for etl in etls]
    assert sessions[0].num_rows > 3000
    assert_same(*sessions)
