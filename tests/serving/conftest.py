import keras
import numpy as np
import pytest

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
    keras.utils.set_random_seed(seed)
    features = t4r.SequenceEmbeddingFeatures(schema, d_output=16, embedding_dim=16)
    inputs = schema.inputs()
    x, table = features(inputs)
    items = inputs[schema.item_id]
    x, targets = t4r.MaskedLanguageModeling()(x, items)
    config = {"model_type": "xlnet", "d_model": 16, "n_head": 2, "n_layer": 1}
    x = t4r.TransformerBlock(config)(x)
    scores = t4r.NextItemHead()(x, targets, table)
    if memory is not None:
        scores = memory(scores, items)
    return t4r.SessionModel(inputs, scores)


@pytest.fixture(scope="session")
def build_model():
    return build


@pytest.fixture(scope="session")
def model(schema, sessions):
    memory = t4r.TransitionMemory(schema)
    model = build(schema, memory=memory)
    memory.update_state(t4r.KerasSequenceLoader(sessions, schema, 128))
    return model
