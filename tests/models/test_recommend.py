"""A mark says what a value means; an answer hangs on nothing else."""

from collections import namedtuple
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seeds import set_seed

import keras_t4r as t4r
from keras_t4r.schema.encoded_ids import encoded_columns, mark_encoded
from keras_t4r.training.baselines import Popularity
from keras_t4r.training.evaluate import evaluate_scorer

pytestmark = pytest.mark.backends("torch")
# Raw ids that could be taken for encoded ones, and the other way round.
RAW = np.random.default_rng(0).permutation(np.arange(2, 42)).tolist()
SESSIONS = {"item_id": [[3, 7], [41], [5, 5, 9, 2]]}


def clicks(seed=0, price=False):
    random = np.random.default_rng(seed)
    rows = []
    for session in range(60):
        for click, item in enumerate(random.permutation(30)[: 3 + session % 4]):
            row = {"session": session, "time": 100 * session + click, "item": int(item)}
            rows.append({**row, "price": 10.0 + item} if price else row)
    return {name: [row[name] for row in rows] for name in rows[0]}


def make_etl(**options):
    options = {"recency": False, "time_features": (), "time_unit": "s", **options}
    return t4r.SessionETL("session", "time", "item", **options)


def make_model(schema, vocabularies=None, memory=False):
    set_seed(1)
    features = t4r.SequenceEmbeddingFeatures(
        schema,
        d_output=16,
        embedding_dim=16,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0),
        vocabularies=vocabularies,
    )
    inputs = schema.inputs()
    items = inputs[schema.item_id]
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, items)
    config = t4r.session_config("gpt2", d_model=16, n_head=2, n_layer=1, dropout=0.0)
    x = t4r.TransformerBlock(config, causal=True)(x)
    scores = t4r.NextItemHead()(x, targets, table)
    if memory:
        scores = t4r.TransitionMemory(schema)(scores, items)
    return t4r.SessionModel(inputs, scores)


@pytest.fixture
def model(build):
    schema = t4r.Schema((build.schema["item_id"],))
    return make_model(schema, {"item_id": t4r.Vocabulary(RAW)})


def containers(columns):
    yield columns
    yield {name: [np.array(row) for row in rows] for name, rows in columns.items()}
    yield pa.table(columns)
    yield pa.RecordBatch.from_pydict(columns)
    yield pl.DataFrame(columns)
    yield pd.DataFrame(columns)
    rows = pl.DataFrame(columns).to_dicts()
    yield rows
    yield [namedtuple("Session", row)(**row) for row in rows]


def assert_same(one, two):
    assert set(one) == set(two)
    for name in one:
        if name == "scores":
            np.testing.assert_allclose(one[name], two[name], atol=1e-5)
        else:
            assert one[name].tolist() == two[name].tolist()


def test_the_container_does_not_decide_what_an_id_means(model):
    encoded = {"item_id": [[RAW.index(i) + 2 for i in s] for s in SESSIONS["item_id"]]}
    expected = model.recommend(encoded, k=5, encoded=True)
    assert set(expected["item_id"].ravel()) <= set(RAW)
    for sessions in containers(SESSIONS):
        assert_same(model.recommend(sessions, k=5), expected)
        assert_same(model.recommend(sessions, k=5, encoded=False), expected)
    for sessions in containers(encoded):
        assert_same(model.recommend(sessions, k=5, encoded=True), expected)
    marked = mark_encoded(
        pa.table(encoded), {"item_id": model.features.vocabulary("item_id")}
    )
    assert_same(model.recommend(marked, k=5), expected)
    later = model.recommend(marked.slice(1), k=5)
    assert later["item_id"].tolist() == expected["item_id"][1:].tolist()
    with pytest.raises(TypeError, match="dict of column to lists"):
        model.recommend([[3, 7]])


def test_an_etls_table_is_read_as_encoded_and_raw_ids_as_raw(tmp_path):
    etl = make_etl().fit(clicks())
    model = make_model(etl.schema)
    log = clicks()
    first = {name: values[:12] for name, values in log.items()}
    raw = {"item": [[], [], []], "session": [0, 1, 2]}
    for session, item in zip(first["session"], first["item"], strict=True):
        raw["item"][session].append(item)
    answer = model.recommend(etl.transform(first), k=5)
    assert_same(answer, model.recommend(raw, k=5))
    etl.write(log, tmp_path / "out", progress=False)
    table = pq.read_table(next((tmp_path / "out").glob("*/sessions.parquet")))
    rows = np.isin(table["session"].to_numpy(), [0, 1, 2])
    assert_same(answer, model.recommend(table.filter(pa.array(rows)), k=5))


def test_ids_of_another_vocabulary_are_refused_and_of_a_shorter_one_taken():
    etl, other = make_etl().fit(clicks()), make_etl().fit(clicks(seed=1))
    model = make_model(etl.schema)
    with pytest.raises(ValueError, match="'item' of the sessions were encoded by an"):
        model.recommend(other.transform(clicks()))
    # `encoded` says what sessions without a mark are.
    with pytest.raises(ValueError, match="'item' of the sessions were encoded by an"):
        model.recommend(other.transform(clicks()), encoded=True)
    model.recommend(other.transform(clicks()), encoded=False)
    longer = etl.vocabulary("item").extend([1000])
    column = etl.schema["item"]
    domain = t4r.Domain(2, longer.last_id, "item")
    grown = t4r.Schema(
        [t4r.ColumnSchema("item", "int64", column.tags, domain, column.value_count)]
    )
    today = make_model(grown, {"item": longer})
    assert today.recommend(etl.transform(clicks()))["item"].shape == (60, 10)


def test_training_and_evaluation_refuse_the_ids_of_another_etl(tmp_path):
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for seed, folder in enumerate(folders):
        make_etl().write(clicks(seed), folder, progress=False)
    # Each loader has the schema that lies beside its sessions.
    schemas = [t4r.Schema.load(folder / "schema.pbtxt") for folder in folders]
    (ours, theirs), (held_out, their_held_out) = (
        [
            t4r.KerasSequenceLoader(folder, schema, 32, target=target)
            for folder, schema in zip(folders, schemas, strict=True)
        ]
        for target in (None, "last")
    )
    model = make_model(schemas[0])
    model.compile("adam", metrics=[t4r.metrics.NDCG(5)])
    model.fit(ours, validation_data=held_out, verbose=0)
    before = model.get_weights()
    for refused in (
        lambda: model.fit(theirs, verbose=0),
        lambda: model.fit(ours, validation_data=their_held_out, verbose=0),
        lambda: model.evaluate(their_held_out, verbose=0),
        lambda: model.predict(theirs, verbose=0),
    ):
        with pytest.raises(ValueError, match="encoded by another vocabulary than the"):
            refused()
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_memory_and_baselines_refuse_the_ids_of_another_etl(tmp_path):
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for seed, folder in enumerate(folders):
        make_etl().write(clicks(seed), folder, progress=False)
    schema, other = (t4r.Schema.load(folder / "schema.pbtxt") for folder in folders)
    ours = t4r.KerasSequenceLoader(folders[0], schema, 32)
    theirs = t4r.KerasSequenceLoader(folders[1], other, 32)
    held_out = t4r.KerasSequenceLoader(folders[1], other, 32, target="last")
    model = make_model(schema, memory=True)
    model.memory.adapt(ours)
    again = t4r.TransitionMemory.from_config(model.memory.get_config())
    count = Popularity(schema).update(folders[0])
    before = model.get_weights()
    for refused in (
        lambda: t4r.tune_memory(model, held_out),
        lambda: model.memory.adapt(theirs),
        lambda: model.memory.update_state(theirs),
        lambda: again.adapt(theirs),
        lambda: count.update(folders[1]),
        lambda: count.update(make_etl().fit_transform(clicks(1))),
        lambda: evaluate_scorer(count, held_out, [t4r.metrics.NDCG(5)]),
    ):
        with pytest.raises(ValueError, match="encoded by another vocabulary than the"):
            refused()
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert count.windows == 1


@pytest.mark.parametrize("split", [None, (0.6, 0.2, 0.2)])
@pytest.mark.parametrize("rows_in_memory", [10_000, 50])
def test_every_file_of_an_etl_carries_the_mark(tmp_path, split, rows_in_memory):
    etl = make_etl(rows_in_memory=rows_in_memory)
    etl.write(clicks(), tmp_path / "out", split=split, progress=False)
    mark = {"item": etl.vocabulary("item").fingerprint}
    files = list((tmp_path / "out").glob("[0-9]*/*.parquet"))
    assert len(files) == (1 if split is None else 3)
    for file in files:
        assert encoded_columns(pq.read_schema(file)) == mark
    assert encoded_columns(etl.transform(clicks()).schema) == mark
    assert encoded_columns(pa.schema([("item", pa.int64())])) is None


def test_a_mark_that_was_lost_is_asked_for(tmp_path):
    etl = make_etl()
    etl.write(clicks(), tmp_path / "out", progress=False)
    model = make_model(t4r.Schema.load(tmp_path / "out" / "schema.pbtxt"))
    table = etl.transform(clicks())
    answer = model.recommend(table, k=3)
    (file,) = (tmp_path / "out").glob("[0-9]*/*.parquet")
    lost = [pl.from_arrow(table), table.to_pandas(), pl.read_parquet(file)]
    for sessions in [*lost, table.to_pydict()]:
        with pytest.raises(ValueError, match=r"not its mark.*pass the Arrow table"):
            model.recommend(sessions, k=3)
    assert_same(model.recommend(lost[0], k=3, encoded=True), answer)
    assert model.recommend(lost[0], k=3, encoded=False)["item"].shape == (60, 3)


def test_numbers_that_the_etl_standardised_are_not_taken_from_the_log():
    log = clicks(price=True)
    etl = make_etl(continuous=["price"]).fit(log)
    model = make_model(etl.schema)
    sessions = etl.transform(log)
    expected = model.recommend(sessions, k=5)
    raw = {"item": [[3, 4]], "price": [[13.0, 14.0]]}
    for encoded in (None, False):
        with pytest.raises(ValueError, match="'price' was standardised by the ETL"):
            model.recommend(raw, encoded=encoded)
    columns = {name: sessions[name].to_pylist() for name in ("session", *raw)}
    assert_same(model.recommend(columns, k=5, encoded=True), expected)


NAMES = ("own", "theirs")


@pytest.mark.parametrize("kind", ["price", "recency", "first clicks"])
def test_numbers_that_another_etl_standardised_are_refused(kind, tmp_path):
    """Its ids are the same: the logs differ in prices, or in times."""
    log = clicks(price=True)
    other = {name: list(values) for name, values in log.items()}
    if kind == "price":
        options, column = {"continuous": ["price"]}, "price"
        other["price"] = [10.0 * price for price in log["price"]]
    else:
        options, column = {"recency": True}, "recency_log_norm"
        other["time"] = [t * (3 if kind == "recency" else 1) + 9 for t in log["time"]]
    own, theirs = make_etl(**options), make_etl(**options)
    own.write(log, tmp_path / "own", progress=False)
    theirs.write(other, tmp_path / "theirs", progress=False)
    assert own.vocabulary("item") == theirs.vocabulary("item")
    schemas = [t4r.Schema.load(tmp_path / x / "schema.pbtxt") for x in NAMES]
    model = make_model(schemas[0])
    twin = t4r.SessionModel.from_config(model.get_config())
    loader = t4r.KerasSequenceLoader(tmp_path / "theirs", schemas[1], 32)
    for refused in (
        lambda: model.recommend(theirs.transform(log), k=3),
        lambda: twin.recommend(theirs.transform(log), k=3, encoded=True),
        lambda: model.predict(loader, verbose=0),
        lambda: t4r.KerasSequenceLoader(tmp_path / "theirs", schemas[0], 32),
    ):
        with pytest.raises(ValueError, match=f"'{column}' of .* standardised oth"):
            refused()
    for same in (own, t4r.SessionETL.load(tmp_path / "own" / "workflow")):
        assert twin.recommend(same.transform(log), k=3)["item"].shape == (60, 3)
    # Weights say whose they are, too.
    model.save_weights(tmp_path / "own.weights.h5")
    with pytest.raises(ValueError, match=f"numbers of column '{column}' were"):
        make_model(schemas[1]).load_weights(tmp_path / "own.weights.h5")
    twin.load_weights(tmp_path / "own.weights.h5")
    # Where a side does not know, nothing is compared: as with files of NVTabular's.
    bare = [replace(column, encoding=None) for column in schemas[0]]
    bare = make_model(replace(schemas[0], columns=bare))
    assert bare.recommend(theirs.transform(log), k=3)["item"].shape == (60, 3)
    bare.predict(loader, verbose=0)


def test_a_mark_of_a_vocabulary_that_the_model_lacks_is_refused():
    etl = make_etl().fit(clicks())
    table = etl.transform(clicks())
    with pytest.raises(FileNotFoundError, match="has no folder of vocabularies"):
        make_model(t4r.Schema(etl.schema.columns))
    unnamed = [replace(c, encoding=None) for c in etl.schema.columns]
    schema = t4r.Schema(unnamed)
    model, loader = make_model(schema), t4r.KerasSequenceLoader(table, schema, 32)
    for refused in (
        lambda: model.recommend(table, k=3),
        lambda: model.recommend(table, k=3, encoded=True),
        lambda: model.predict(loader, verbose=0),
    ):
        with pytest.raises(ValueError, match=r"'item' of .* lacks.* beside it"):
            refused()


@pytest.mark.backends("jax")
def test_answers_come_in_the_order_of_the_sessions_whatever_the_batch(model):
    random = np.random.default_rng(2)
    lists = [random.choice(RAW, n).tolist() for n in random.integers(1, 30, 23)]
    keys = random.permutation(23).tolist()
    model.features.session_column = "session"
    sessions = {"item_id": lists, "session": keys}
    for exclude_seen in (False, True):
        whole = model.recommend(sessions, k=4, exclude_seen=exclude_seen)
        assert whole["session"].tolist() == keys
        parts = model.recommend(sessions, 4, exclude_seen, batch_size=5)
        assert_same(whole, parts)
        for row in (0, 7, 22):
            one = model.recommend({"item_id": [lists[row]]}, 4, exclude_seen)
            assert one["item_id"][0].tolist() == whole["item_id"][row].tolist()
            if exclude_seen:
                assert not set(one["item_id"][0]) & set(lists[row])
    # Of the four best the first two are left out, for each session its own.
    out = whole["item_id"][:, :2].tolist()
    fewer = model.recommend(sessions, 2, True, exclude=out)
    assert fewer["item_id"].tolist() == whole["item_id"][:, 2:].tolist()


@pytest.mark.backends("jax")
def test_places_without_an_item_are_marked(model):
    seen = RAW[:30]
    answer = model.recommend({"item_id": [seen, RAW[:1]]}, k=15, exclude_seen=True)
    real = np.isfinite(answer["scores"])
    assert real.sum(1).tolist() == [10, 15]
    assert answer["item_id"].dtype == np.int64
    assert set(answer["item_id"][0, :10]) == set(RAW[30:])
    assert (answer["item_id"][~real] == -1).all()
    assert model.decode([[2, 1, 0]]).tolist() == [[RAW[0], -1, -1]]


def test_without_a_vocabulary_raw_ids_are_the_encoded_ones(build):
    model = make_model(t4r.Schema((build.schema["item_id"],)))
    answer = model.recommend({"item_id": [list(range(2, 40))]}, 5, exclude_seen=True)
    assert set(answer["item_id"][0]) == {40, 41, 0}
    assert model.decode([[7, 0]]).tolist() == [[7, 0]]


@pytest.mark.parametrize("make", [dict, pa.table, pl.DataFrame])
def test_an_empty_request_gets_an_empty_answer(model, make):
    model.features.session_column = "session"
    empty = {"item_id": [], "session": []}
    answer = model.recommend(make(empty), k=3)
    assert answer["item_id"].shape == answer["scores"].shape == (0, 3)
    assert answer["session"].shape == (0,)


KEYS = [
    ["a\0", "b"],
    [1, "a"],
    [2**63, -1],
    [True, 1],
    [None, 1],
    [(1, 2), (3, 4)],
]


@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_session_ids_come_back_as_they_went_in(model, keys):
    model.features.session_column = "session"
    found = model.recommend({"item_id": [[3], [7]], "session": keys}, k=1)["session"]
    assert found.shape == (2,) and found.tolist() == keys
    assert list(map(type, found.tolist())) == list(map(type, keys))


def test_session_ids_of_one_type_stay_one(model):
    model.features.session_column = "session"
    for keys in ([1, 2], np.array([1, 2]), pa.array([1, 2]), pl.Series([1, 2])):
        sessions = {"item_id": [[3], [7]], "session": keys}
        assert model.recommend(sessions, k=1)["session"].dtype == np.int64
    gap = pa.table({"item_id": [[3], [7]], "session": [1, None]})
    assert model.recommend(gap, k=1)["session"].tolist() == [1, None]


@pytest.mark.parametrize("role", ["item_id", "session_id"])
def test_a_column_named_as_the_scores_are_is_refused(build, role):
    item = build.schema["item_id"]
    if role == "item_id":
        model = make_model(t4r.Schema((replace(item, name="scores"),)))
    else:
        model = make_model(t4r.Schema((item,)))
        model.features.session_column = "scores"
    with pytest.raises(ValueError, match="has a column 'scores', which is what"):
        model.recommend({"item_id": [[3]], "scores": [[3]]}, k=1)


def test_lists_and_texts_are_read_in_every_layout(build):
    words = t4r.Vocabulary([f"i{i}" for i in range(40)])
    model = make_model(t4r.Schema((build.schema["item_id"],)), {"item_id": words})
    rows = [["i3", "i7"], ["i9", "i1"]]
    text, coded = pa.string(), pa.dictionary(pa.int32(), pa.string())
    expected = model.recommend({"item_id": rows}, k=3)
    for items in (
        pa.array(rows, pa.list_(text, 2)),
        pa.array([["i0", "i0"], *rows], pa.list_(text, 2))[1:],
        pa.array(rows, pa.list_(pa.string_view())),
        pa.array(rows).cast(pa.list_(coded)),
        pl.Series(rows, dtype=pl.Array(pl.String, 2)),
        pl.Series(rows, dtype=pl.List(pl.Categorical)),
    ):
        frame = pa.table if isinstance(items, pa.Array) else pl.DataFrame
        assert_same(model.recommend(frame({"item_id": items}), k=3), expected)
    rows = [["i3", ""]]
    for items in (
        pa.array(rows, pa.list_(pa.string_view())),
        pa.array(rows).cast(pa.list_(coded)),
        pl.Series(rows, dtype=pl.List(pl.Categorical)),
        [["i3", float("nan")]],
        [[float("nan")]],
    ):
        with pytest.raises(ValueError, match="null or empty item"):
            model.recommend({"item_id": items}, k=3)
    for sessions in (
        {"item_id": [["i3"], None]},
        pa.table({"item_id": [["i3"], None]}),
    ):
        with pytest.raises(ValueError, match="Session 1 is null in column 'item_id'"):
            model.recommend(sessions, k=3)
    twice = pa.table([pa.array([["i3"]])] * 2, names=["item_id", "item_id"])
    with pytest.raises(ValueError, match="names column 'item_id' twice"):
        model.recommend(twice, k=3)


@pytest.mark.backends("jax")
def test_a_compiled_answer_is_made_once_and_follows_the_weights(model, monkeypatch):
    traces = []
    top_k = type(model).top_k
    monkeypatch.setattr(
        type(model),
        "top_k",
        lambda self, x, **how: traces.append(how) or top_k(self, x, **how),
    )
    before = model.recommend(SESSIONS, k=5)
    first = len(traces)
    for _ in range(3):
        assert_same(model.recommend(SESSIONS, k=5), before)
    # PyTorch, which compiles nothing, calls it each time.
    eager = keras.backend.backend() == "torch"
    assert len(traces) == (4 * first if eager else first)
    model.recommend(SESSIONS, k=5, exclude_seen=True)
    (head,) = model.heads
    how = {"k": 5, "exclude_seen": True, "head": head, "exclude": None}
    assert traces[-1] == how
    model.set_weights([-w for w in model.get_weights()])
    after = model.recommend(SESSIONS, k=5)
    x = {"item_id": np.array([[RAW.index(3) + 2, RAW.index(7) + 2, 0, 0]], "int32")}
    best = np.sort(model.predict_on_batch(x)[0])[::-1][:5]
    np.testing.assert_allclose(after["scores"][0], best, atol=1e-5)
    assert not np.allclose(after["scores"], before["scores"])


def test_asking_leaves_the_model_as_it_was(build, tmp_path):
    model = build.model("clm", "gpt2")
    sessions = build.sessions(16)
    paths = [v.path for v in model.variables]
    config = model.get_config()
    before = model.recommend(sessions, k=5)
    assert [v.path for v in model.variables] == paths
    assert model.get_config() == config
    loader = t4r.KerasSequenceLoader(sessions, build.schema, 8)
    model.fit(loader, epochs=1, verbose=0)
    after = model.recommend(sessions, k=5)
    assert not np.allclose(before["scores"], after["scores"])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(loaded.recommend(sessions, k=5), after)
