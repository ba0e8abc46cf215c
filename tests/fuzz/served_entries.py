"""Requests to a running Triton: what it answers must be what Python answers."""

import atexit

import numpy as np
from damage import odd_value
from fuzzed_log import CLICKS
from kept_entries import Kept
from outcome import Refused

import keras_t4r as t4r
from keras_t4r.serving import triton_files

NAME, K = "shop", 3
KINDS = {"s": "BYTES", "t": "INT64", "i": "INT64", "c": "BYTES", "x": "FP64"}
ODD = {
    "INT64": [0, -1, 1, 2**33, 2**62, -(2**63), 2**63 - 1],
    "FP64": [np.nan, np.inf, -np.inf, 1e39, -1e300, 1e15, 5e-324, 0.0, -0.0],
    "BYTES": [b"", b" ", b"\0", b"a\0", b"\xff", "é".encode(), b"x" * 10_000, b"c 1"],
}


def triton_is_here():
    try:
        python = triton_files.default_python()
        triton_files.wheel_folder(triton_files.interpreter_facts(python))
    except ImportError:
        return False
    return True


def server():
    """The one that all cases ask; it ends with this process."""
    if not hasattr(Kept, "server"):
        models = Kept.made / "models"
        t4r.export_tensorflow_ensemble(Kept.model, Kept.etl, NAME, models, k=K)
        Kept.server = t4r.TritonServer(models).start()
        Kept.clients = [
            t4r.TritonClient(Kept.server.http_url),
            t4r.TritonClient(Kept.server.grpc_url, "grpc"),
        ]
        atexit.register(stop)
    return Kept.server


def stop():
    if hasattr(Kept, "server"):
        for client in Kept.clients:
            client.close()
        Kept.server.stop()
        del Kept.server


def is_answer(found, columns):
    """Whether `predict` of a client found what Python finds for the same rows."""
    sessions = Kept.etl.transform(columns)
    expected = Kept.model.recommend(sessions, k=K)
    return (
        found["s"].tolist() == sessions["s"].to_pylist()
        and found["i"].tolist() == np.asarray(expected["i"]).tolist()
        and np.allclose(found["scores"], expected["scores"], rtol=1e-4, atol=1e-5)
    )


def served_rows(rng, folder):
    """One odd value in rows that go through the client."""
    Kept.folder(folder.parent)
    server()
    columns = {name: list(values) for name, values in Kept.clicks.items()}
    columns["stic"[rng.integers(4)]][rng.integers(CLICKS)] = odd_value(rng)
    if rng.integers(2):
        columns["x"][rng.integers(CLICKS)] = odd_value(rng)
    client = Kept.clients[rng.integers(2)]
    given = columns
    if rng.integers(2):
        rows = zip(*columns.values(), strict=True)
        given = [dict(zip(columns, row, strict=True)) for row in rows]
    return lambda: client.predict(NAME, given), lambda found: is_answer(found, columns)


def served_tensors(rng, folder):
    """A request of a stranger's own making: odd numbers and texts, shapes, types."""
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    Kept.folder(folder.parent)
    url = server().http_url
    columns = {name: list(values) for name, values in Kept.clicks.items()}
    for name in rng.choice(list(KINDS), rng.integers(3), replace=False):
        odd = ODD[KINDS[name]]
        columns[name][rng.integers(CLICKS)] = odd[rng.integers(len(odd))]
    dtypes = {"BYTES": object, "INT64": "int64", "FP64": "float64"}
    arrays = {n: np.array(v, dtypes[KINDS[n]])[:, None] for n, v in columns.items()}
    name = list(KINDS)[rng.integers(len(KINDS))]
    change = rng.integers(8)
    if change == 0:
        arrays[name] = arrays[name][: rng.integers(CLICKS)]
    elif change == 1:
        arrays[name] = arrays[name][:, 0]
    elif change == 2:
        arrays[name] = np.concatenate([arrays[name]] * 2, axis=1)
    elif change == 3:
        arrays[name] = np.ones_like(arrays[name], "float32")
    elif change == 4:
        arrays.pop(name)
    elif change == 5:
        arrays = {n: array[:0] for n, array in arrays.items()}

    def run():
        tensors = []
        for name, array in arrays.items():
            kind = "FP32" if array.dtype == "float32" else KINDS[name]
            tensor = http.InferInput(name, list(array.shape), kind)
            tensors.append(tensor.set_data_from_numpy(array))
        with http.InferenceServerClient(url) as client:
            try:
                answer = client.infer(NAME, tensors)
            except InferenceServerException as error:
                if not client.is_server_live():
                    raise RuntimeError("The server is gone.") from error
                raise Refused(error.message()) from error
        found = {n: answer.as_numpy(f"result_{n}") for n in ("s", "i", "scores")}
        found["s"] = np.array([text.decode() for text in found["s"][:, 0]], object)
        return found

    def is_right(found):
        if change < 6:
            return False
        given = dict(columns)
        for name in "sc":
            texts = [v.decode() if isinstance(v, bytes) else v for v in given[name]]
            given[name] = texts
        return is_answer(found, given)

    return run, is_right
