import json
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
from seeds import set_seed

import keras_t4r as t4r
from keras_t4r.serving.tensorflow_ensemble import export_tensorflow_ensemble
from keras_t4r.serving.triton_client import TritonClient
from keras_t4r.serving.triton_server import TritonServer

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="a SavedModel is written on the TensorFlow backend only",
)
K = 8


@pytest.fixture(scope="module")
def repository(triton, model, etl, tmp_path_factory):
    path = tmp_path_factory.mktemp("repository") / "models"
    export_tensorflow_ensemble(model, etl, "shop", path, k=K)
    return path


@pytest.fixture(scope="module")
def server(repository):
    with TritonServer(repository, load=["shop"], startup_timeout=300) as server:
        yield server


@pytest.fixture(params=["http", "grpc"])
def client(request, server):
    url = server.http_url if request.param == "http" else server.grpc_url
    with TritonClient(url, request.param) as client:
        yield client


@pytest.fixture
def one_client(server):
    with TritonClient(server.http_url) as client:
        yield client


def first(clicks, rows):
    return {name: values[:rows] for name, values in clicks.items()}


def session(items, **columns):
    """Rows of one session, a click a minute."""
    return [
        {
            "session_id": 9_000_001,
            "timestamp": f"2014-04-03T{minute // 60 % 24:02d}:{minute % 60:02d}:00",
            "item_id": item,
            "category": 3,
            "price": 10.0,
            **columns,
        }
        for minute, item in enumerate(items)
    ]


def assert_same(answers, expected):
    assert [row["session_id"] for row in answers] == expected["session_id"].tolist()
    assert [row["item_id"] for row in answers] == expected["item_id"].tolist()
    scores = np.array([row["scores"] for row in answers])
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-5)


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_served_answers_equal_recommend_on_the_same_clicks(client, model, etl, clicks):
    rows = first(clicks, 400)
    answers = client.recommend("shop", rows)
    assert len(answers) > 100
    assert_same(answers, model.recommend(etl.transform(rows), k=K))


def test_sessions_come_back_in_the_order_of_their_first_rows(one_client, clicks):
    rows = first(clicks, 50)
    answers = one_client.recommend("shop", rows)
    order = list(dict.fromkeys(rows["session_id"]))
    assert [row["session_id"] for row in answers] == order
    assert order != sorted(order)


def test_excluded_items_are_left_out_as_by_recommend(client, model, etl, clicks):
    rows = first(clicks, 40)
    sessions = etl.transform(rows)
    best = model.recommend(sessions, k=K)["item_id"]
    each = [row[: n % 4].tolist() for n, row in enumerate(best)]
    for exclude in (best[0].tolist(), best[0], each, ["launched today"], []):
        expected = model.recommend(sessions, k=K, exclude=exclude)
        assert_same(client.recommend("shop", rows, exclude=exclude), expected)
        found = client.predict("shop", rows, exclude=exclude)
        assert found["item_id"].tolist() == expected["item_id"].tolist()
    assert (expected["item_id"] == best).all()
    with pytest.raises(ValueError, match=f"2 lists of ids, but there are {len(best)}"):
        client.recommend("shop", rows, exclude=[["a"], ["b"]])
    with pytest.raises(TypeError, match="exclude holds 5; raw ids"):
        client.recommend("shop", rows, exclude=[5])


def test_any_http_client_gets_an_answer(server, model, etl):
    rows = session(["item 1 é", "item 2 é"])
    kinds = {"int64": "INT64", "float64": "FP64", "string": "BYTES"}
    inputs = [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": kinds[kind],
            "data": [row[name] for row in rows],
        }
        for name, kind in etl.input_columns.items()
    ]
    url = f"http://{server.http_url}/v2/models/shop/infer"
    body = json.dumps({"inputs": inputs}).encode()
    with urllib.request.urlopen(url, body) as reply:
        outputs = json.loads(reply.read())["outputs"]
    answer = {output["name"]: output["data"] for output in outputs}
    expected = model.recommend(etl.transform(columns_of(rows)), k=K)
    assert answer["result_session_id"] == [9_000_001]
    assert answer["result_item_id"] == expected["item_id"][0].tolist()
    # And may say what it should not be.
    out = expected["item_id"][0][:3].tolist()
    exclude = {"shape": [1, 4], "datatype": "BYTES", "data": [*out, ""]}
    body = json.dumps({"inputs": [*inputs, {"name": "exclude", **exclude}]}).encode()
    with urllib.request.urlopen(url, body) as reply:
        ids = json.loads(reply.read())["outputs"][1]["data"]
    assert ids[: K - 3] == expected["item_id"][0][3:].tolist()
    # Two lists are none of one session.
    exclude = {**exclude, "shape": [2, 2]}
    body = json.dumps({"inputs": [*inputs, {"name": "exclude", **exclude}]}).encode()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, body)
    assert b"2 lists of ids, but there are 1 sessions" in refused.value.read()


def test_unknown_items_are_answered_as_unknown(client, model, etl):
    rows = session(["item 1 é", "launched today", "item 2 é"])
    expected = model.recommend(etl.transform(columns_of(rows)), k=K)
    assert_same(client.recommend("shop", rows), expected)
    only = session(["launched today"])
    expected = model.recommend(etl.transform(columns_of(only)), k=K)
    assert_same(client.recommend("shop", only), expected)


def test_ten_thousand_clicks_count_by_their_newest(client, model, etl):
    items = [f"item {number % 100} é" for number in range(10_000)]
    rows = session(items)
    for number, row in enumerate(rows):
        moment = np.datetime64("2014-04-01T00:00:00") + 10 * number
        row["timestamp"] = str(moment)
    expected = model.recommend(etl.transform(columns_of(rows)), k=K)
    answers = client.recommend("shop", rows)
    assert_same(answers, expected)
    newest = model.recommend(etl.transform(columns_of(rows[-40:])), k=K)
    assert_same(answers, newest)


def test_missing_numbers_and_categories_are_answered(client, model, etl):
    rows = session(["item 1 é", "item 2 é"], price=None, category=None)
    expected = model.recommend(etl.transform(columns_of(rows)), k=K)
    assert_same(client.recommend("shop", rows), expected)


BAD = {
    "no rows": ([], "has no rows: send at least one click"),
    "a time that is none": (
        session(["item 1 é"], timestamp="yesterday"),
        "'yesterday' is not a time",
    ),
    "no session": (session(["item 1 é"], session_id=None), "'session_id' is null"),
    "an infinite price": (
        session(["item 1 é"], price=float("inf")),
        "'price' is inf in row 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_gets_its_sentence_and_the_next_is_answered(client, case):
    rows, message = BAD[case]
    rows = rows or {name: [] for name in session(["x"])[0]}
    with pytest.raises(RuntimeError, match=message):
        client.recommend("shop", rows)
    assert len(client.recommend("shop", session(["item 1 é"]))) == 1


@pytest.mark.parametrize("change", ["type", "missing", "shape"])
def test_a_malformed_request_gets_tritons_error_and_the_next_is_answered(
    one_client, change
):
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    inputs = one_client._inputs("shop", session(["item 1 é"]), None)
    names = [tensor.name() for tensor in inputs]
    at = names.index("category")
    if change == "missing":
        del inputs[at]
    else:
        dtype, shape = ("FP32", [1, 1]) if change == "type" else ("INT64", [1, 2])
        inputs[at] = http.InferInput("category", shape, dtype)
        values = np.zeros(shape, "float32" if change == "type" else "int64")
        inputs[at].set_data_from_numpy(values)
    with pytest.raises(InferenceServerException, match=r"category|expected 5 inputs"):
        one_client._client.infer("shop", inputs)
    assert len(one_client.recommend("shop", session(["item 1 é"]))) == 1


def test_columns_of_different_lengths_get_a_sentence(one_client):
    from tritonclient.utils import InferenceServerException

    inputs = one_client._inputs("shop", session(["item 1 é", "item 2 é"]), None)
    one = one_client._inputs("shop", session(["item 1 é"]), None)
    inputs = [*inputs[:3], one[3], *inputs[4:]]
    with pytest.raises(InferenceServerException, match="differ in their number of row"):
        one_client._client.infer("shop", inputs)


def test_a_model_that_is_not_there_gets_tritons_word(client):
    with pytest.raises(RuntimeError, match=r"says: .*nothing"):
        client.recommend("nothing", session(["item 1 é"]))


def test_nvtabular_serves_the_same_answers(server, repository, model, etl, clicks):
    pytest.importorskip(
        "nvtabular", reason="nvtabular is not installed; it ends with Python 3.11"
    )
    from keras_t4r.data.nvtabular.workflow import NVTabularWorkflow

    workflow = NVTabularWorkflow(**vars(etl.config)).fit(clicks)
    export_tensorflow_ensemble(model, workflow, "merlin", repository, k=K)
    server.load("merlin")
    rows = first(clicks, 200)
    expected = model.recommend(etl.transform(rows), k=K)
    urls = {"http": server.http_url, "grpc": server.grpc_url}
    for protocol, url in urls.items():
        with TritonClient(url, protocol) as client:
            assert_same(client.recommend("merlin", rows), expected)
            with pytest.raises(RuntimeError, match="'yesterday' is not a time"):
                client.recommend("merlin", BAD["a time that is none"][0])
            assert len(client.recommend("merlin", session(["item 1 é", "new"]))) == 1
    server.unload("merlin")


def test_a_body_that_reads_times_is_served_and_what_was_seen_is_left_out(
    server, one_client, repository, clicks, tmp_path
):
    etl = t4r.SessionETL(
        "session_id", "timestamp", "item_id", time_features=["seconds"], recency=False
    )
    etl.fit(clicks).write(clicks, tmp_path / "sessions", progress=False)
    schema = t4r.Schema.load(tmp_path / "sessions" / "schema.pbtxt")
    set_seed(3)
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=16)
    inputs = schema.inputs()
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    config = t4r.session_config("hstu", 16, n_head=2, n_layer=2)
    x = t4r.TransformerBlock(config)(x, times=inputs["seconds"])
    outputs = t4r.NextItemHead()(x, targets, table)
    model = t4r.SessionModel(inputs, outputs)
    # Untrained, the bias of all pauses is about nought.
    for variable in model.trainable_variables:
        noise = np.random.default_rng(0).normal(scale=0.2, size=variable.shape)
        variable.assign_add(noise.astype("float32"))
    options = {"k": len(etl.vocabulary("item_id")), "exclude_seen": True}
    export_tensorflow_ensemble(model, etl, "timed", repository, **options)
    server.load("timed")

    rows = {name: clicks[name][:200] for name in etl.input_columns}
    expected = model.recommend(etl.transform(rows), **options)
    # Items of the session are left out, and so their places hold none.
    assert (expected["item_id"][:, -1] == None).all()  # noqa: E711
    for protocol, url in {"http": server.http_url, "grpc": server.grpc_url}.items():
        with TritonClient(url, protocol) as client:
            assert_same(client.recommend("timed", rows), expected)
    soon = session(["item 1 é", "item 2 é"])
    late = [soon[0], {**soon[1], "timestamp": "2014-04-05T00:00:00"}]
    soon, late = (one_client.recommend("timed", rows)[0] for rows in (soon, late))
    assert np.abs(np.subtract(soon["scores"][:K], late["scores"][:K])).max() > 1e-3
    server.unload("timed")


def test_all_outputs_of_a_model_are_served(
    server, repository, tasks_model, expected_of_tasks, model, etl, clicks
):
    export_tensorflow_ensemble(tasks_model, etl, "tasks", repository, k=K)
    server.load("tasks")
    rows = first(clicks, 2000)
    sessions = etl.transform(rows)
    assert max(map(len, sessions["item_id"].to_pylist())) > 5
    expected = expected_of_tasks(tasks_model, etl, sessions, K)
    for protocol, url in {"http": server.http_url, "grpc": server.grpc_url}.items():
        with TritonClient(url, protocol) as client:
            answer = client.predict("tasks", rows)
            assert set(answer) == set(expected)
            for name in ("session_id", "next_item", "next_category"):
                assert answer[name].tolist() == expected[name].tolist()
            for name in ("next_item_scores", "next_category_scores", "bought"):
                assert answer[name].dtype == "float32"
                np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)
            for values, own in zip(answer["liked"], expected["liked"], strict=True):
                assert values.shape == own.shape
                np.testing.assert_allclose(values, own, atol=1e-5)
            out = [row[:2].tolist() for row in expected["next_item"]]
            fewer = client.predict("tasks", rows, exclude=out)
            next_item = expected["next_item"][:, 2:].tolist()
            assert fewer["next_item"][:, : K - 2].tolist() == next_item
            left = fewer["next_category"].tolist()
            assert left == expected["next_category"].tolist()
            with pytest.raises(ValueError, match=r"'liked'.*ask it by predict"):
                client.recommend("tasks", rows)
            one = client.predict("shop", rows)
            best = model.recommend(sessions, k=K)
            assert set(one) == {"session_id", "item_id", "scores"}
            assert one["item_id"].tolist() == best["item_id"].tolist()
    server.unload("tasks")


# Last, since nothing is served after it.
@pytest.mark.parametrize("column", ["session_id", "item_id", "timestamp"])
@pytest.mark.parametrize("value", [None, ""])
def test_no_value_is_refused_as_in_python(client, etl, column, value):
    if column == "session_id" and value == "":
        value = None  # an integer here
    rows = session(["item 1 é", "item 2 é"])
    rows[1][column] = value
    with pytest.raises(ValueError, match=f"'{column}' is null in row 2"):
        etl.transform(rows)
    with pytest.raises(RuntimeError, match=f"'{column}' is null in row 2"):
        client.recommend("shop", rows)
    # And nobody else has to suffer for it.
    assert client.recommend("shop", session(["item 1 é"]))


@pytest.mark.parametrize("price", [1e39, float("inf"), -1e300])
def test_a_number_beyond_float32_is_refused_as_in_python(client, etl, price):
    rows = session(["item 1 é"], price=price)
    with pytest.raises(ValueError, match="'price'"):
        etl.transform(rows)
    with pytest.raises(RuntimeError, match="'price'"):
        client.recommend("shop", rows)


def test_text_comes_back_as_it_was_sent(server, repository, build_model, tmp_path):
    """Also what ends in a zero byte, which NumPy's text would lose."""
    items = ["a", "a\0", "a\0\0b", " a ", "é" * 300, '"a,b"', "\n"]
    keys = [f"{item}\0" for item in items]
    clicks = {
        "s": np.repeat(keys, 2).tolist(),
        "t": list(range(2 * len(items))),
        "i": items + items,
    }
    etl = t4r.SessionETL("s", "t", "i", time_unit="s", recency=False, time_features=())
    clicks["s"] = [key for key in keys for _ in range(2)]
    etl.write(clicks, tmp_path / "log", progress=False)
    model = build_model(t4r.Schema.load(tmp_path / "log" / "schema.pbtxt"))
    export_tensorflow_ensemble(model, etl, "text", repository, k=len(items))
    server.load("text")
    for url, protocol in ((server.http_url, "http"), (server.grpc_url, "grpc")):
        with TritonClient(url, protocol) as client:
            answers = client.recommend("text", clicks)
        assert [answer["s"] for answer in answers] == keys
        for answer in answers:
            assert sorted(answer["i"]) == sorted(items)
    server.unload("text")
    expected = model.recommend(etl.transform(clicks), k=len(items))
    assert [answer["i"] for answer in answers] == expected["i"].tolist()


def test_the_demo_serves_without_a_triton(model, etl, tmp_path, monkeypatch, capsys):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[2] / "examples" / "serve.py"
    spec = importlib.util.spec_from_file_location("serve", path)
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)

    def missing(self):
        raise ImportError("there is no wheel")

    monkeypatch.setattr(TritonServer, "start", missing)
    rows = session(["item 1 é", "item 2 é"])
    found = serve.serve_and_ask(model, etl, tmp_path / "models", [rows], k=K, repeats=2)
    ((asked, answers, milliseconds),) = list(found)
    assert asked == rows and milliseconds > 0
    assert "there is no wheel" in capsys.readouterr().err
    assert_same(answers, model.recommend(etl.transform(rows), k=K))


# Last, for it leaves the server without its model.
def test_a_retrained_model_takes_over_and_is_unloaded_with_its_parts(
    server, one_client, repository, schema, etl, build_model, model
):
    rows = session(["item 1 é", "item 2 é"])
    sessions = etl.transform(columns_of(rows))
    retrained = build_model(schema, seed=2)
    export_tensorflow_ensemble(retrained, etl, "shop", repository, k=K, overwrite=True)
    assert_same(one_client.recommend("shop", rows), model.recommend(sessions, k=K))
    server.load("shop")
    assert_same(one_client.recommend("shop", rows), retrained.recommend(sessions, k=K))
    server.unload("shop")
    assert not server.ready("shop")
    assert not server.ready("shop_nvt")
    assert not server.ready("shop_tf")
    with pytest.raises(RuntimeError, match="Triton at"):
        one_client.recommend("shop", rows)
