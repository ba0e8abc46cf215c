import keras
import numpy as np
import pytest
from seeds import set_seed

import keras_t4r as t4r
from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.serving import triton_files


@pytest.fixture(scope="session")
def triton():
    """Skips where there is no Triton to run."""
    pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    try:
        python = triton_files.default_python()
        triton_files.wheel_folder(triton_files.interpreter_facts(python))
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def clicks():
    """A small log: text items, integer categories, numbers with gaps."""
    random = np.random.default_rng(0)
    rows = 2000
    items = random.zipf(1.3, rows) % 120
    times = 1_396_310_400 + np.sort(random.integers(0, 4 * 86_400, rows))
    prices = random.normal(10.0, 3.0, rows).round(2)
    return {
        "session_id": random.integers(0, 400, rows).tolist(),
        "timestamp": np.datetime_as_string(times.astype("datetime64[s]")).tolist(),
        "item_id": [f"item {item} é" for item in items],
        "category": (items % 7).tolist(),
        "price": [None if row % 50 == 0 else float(x) for row, x in enumerate(prices)],
    }


@pytest.fixture(scope="session")
def etl(clicks):
    etl = SessionETL(
        "session_id",
        "timestamp",
        "item_id",
        categorical=["category"],
        continuous=["price"],
    )
    return etl.fit(clicks)


@pytest.fixture(scope="session")
def sessions(etl, clicks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "sessions"
    etl.write(clicks, folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def schema(sessions):
    return t4r.Schema.load(sessions / "schema.pbtxt")


def build(schema, seed=1, memory=None):
    """An untrained model: what it answers is arbitrary, but always the same."""
    set_seed(seed)
    features = t4r.SequenceEmbeddingFeatures(schema, d_output=16, embedding_dim=16)
    inputs = schema.inputs()
    x, table = features(inputs)
    items = inputs[schema.item_id]
    x, targets = t4r.MaskedLanguageModeling()(x, items)
    config = {"model_type": "xlnet", "d_model": 16, "n_head": 2, "n_layer": 1}
    x = t4r.TransformerBlock(config)(x)
    head = t4r.NextItemHead(first_id=schema[schema.item_id].first_id)
    scores = head(x, targets, table)
    if memory is not None:
        scores = memory(scores, items)
    return t4r.SessionModel(inputs, scores)


def build_tasks(schema, chosen=None, **names):
    """An untrained model of several outputs, which reads five events.

    Args:
        schema: `Schema` with the columns `item_id` and `category`.
        chosen: the outputs to have; all by default.
        **names: other names for them.
    """
    set_seed(4)
    features = t4r.SequenceEmbeddingFeatures(schema, d_output=16, max_length=6)
    inputs = schema.inputs()
    x, table = features(inputs)
    ids = [inputs["item_id"], inputs["category"]]
    x, (items, categories) = t4r.MaskedLanguageModeling()(x, ids)
    config = {"model_type": "xlnet", "d_model": 16, "n_head": 2, "n_layer": 1}
    x = t4r.TransformerBlock(config)(x)
    sizes = {"cardinality": schema["category"].cardinality, "target": "category"}
    summary = t4r.SessionSummary("mean")(x)
    outputs = {
        "next_item": t4r.NextItemHead()(x, items, table),
        "next_category": t4r.NextItemHead(**sizes)(x, categories),
        "bought": keras.layers.Dense(1, "sigmoid")(summary),
        "liked": keras.layers.Dense(2, "sigmoid")(x),
    }
    chosen = chosen or list(outputs)
    return t4r.SessionModel(inputs, {names.get(n, n): outputs[n] for n in chosen})


@pytest.fixture(scope="session")
def build_tasks_model():
    return build_tasks


@pytest.fixture(scope="session")
def tasks_model(schema):
    """Scores of items and of categories, a value a session, and two an event."""
    return build_tasks(schema)


@pytest.fixture(scope="session")
def expected_of_tasks():
    """What `tasks_model` answers to sessions of an ETL, by Keras's `predict`."""

    def expected(model, etl, sessions, k):
        found = dict(model.recommend(sessions, k=k))
        found["next_item"] = found.pop("item_id")
        found["next_item_scores"] = found.pop("scores")
        newest = [row[-5:] for row in sessions["item_id"].to_pylist()]
        x = {}
        for column in model.schema:
            rows = [row[-5:] for row in sessions[column.name].to_pylist()]
            x[column.name] = np.zeros((len(rows), 5), column.dtype)
            for cells, row in zip(x[column.name], rows, strict=True):
                cells[: len(row)] = row
        y = model.predict_on_batch(x)
        found["bought"] = np.asarray(y["bought"])
        liked = zip(np.asarray(y["liked"]), newest, strict=True)
        found["liked"] = [values[: len(row)] for values, row in liked]
        scores = np.asarray(y["next_category"])
        ids = np.argsort(-scores, axis=1)[:, : min(k, scores.shape[1] - 2)]
        found["next_category"] = etl.decode(ids, "category")
        found["next_category_scores"] = np.take_along_axis(scores, ids, axis=1)
        return found

    return expected


@pytest.fixture(scope="session")
def build_model():
    return build


@pytest.fixture(scope="session")
def model(schema, sessions):
    memory = t4r.TransitionMemory(schema)
    model = build(schema, memory=memory)
    memory.update_state(t4r.KerasSequenceLoader(sessions, schema, 128))
    return model
