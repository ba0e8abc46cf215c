"""What a stranger on the port can do: ask models, and nothing else."""

import base64
import http.client
import json
import stat
from pathlib import Path

import pytest
from triton_models import ask, group_is_alive, write_model

from keras_t4r.serving.triton_server import TritonServer


@pytest.fixture(scope="module")
def server(triton, tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    write_model(repository, "plus_one")
    with TritonServer(repository) as server:
        yield server


def post(server, place, body, kind="application/json", headers=()):
    connection = http.client.HTTPConnection(server.http_url, timeout=30)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", place, data, {"Content-Type": kind, **dict(headers)})
    reply = connection.getresponse()
    found = reply.status, reply.read().decode(errors="replace")
    connection.close()
    return found


def code_that_touches(path):
    program = (
        f"open({str(path)!r}, 'w').write('stranger')\n"
        "class TritonPythonModel:\n"
        "    def execute(self, requests):\n"
        "        return []\n"
    )
    config = {"backend": "python", "input": [], "output": [], "max_batch_size": 0}
    encoded = base64.b64encode(program.encode()).decode()
    return {"config": json.dumps(config), "file:1/model.py": encoded}


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_no_code_comes_in_by_a_load(server, tmp_path, kind):
    trace = tmp_path / "trace"
    body = {"parameters": code_that_touches(trace)}
    # Of a name of its own, for Triton takes a second load of the same files as none.
    evil = f"evil_{kind[:4]}"
    for name in (evil, "plus_one"):
        place = f"/v2/repository/models/{name}/load"
        status, text = post(server, place, body, kind)
        assert status == 403 and "restricted" in text
        guess = {"keras-t4r-secret": "guess"}
        assert post(server, place, body, kind, guess.items())[0] == 403
    assert not trace.exists()
    assert ask(server.http_url, "plus_one", [1]) == [2]
    # The very same does run for whoever holds the secret: the attack is a real one.
    secret = {"keras-t4r-secret": server._secret}
    post(server, f"/v2/repository/models/{evil}/load", body, kind, secret.items())
    assert trace.read_text() == "stranger"


CLOSED = {
    "unload": "/v2/repository/models/plus_one/unload",
    "index": "/v2/repository/index",
    "memory": "/v2/systemsharedmemory/region/r/register",
    "forget memory": "/v2/systemsharedmemory/unregister",
    "cuda memory": "/v2/cudasharedmemory/region/r/register",
    "trace": "/v2/trace/setting",
    "log": "/v2/logging",
}


@pytest.mark.parametrize("what", CLOSED)
def test_calls_that_are_not_a_strangers_are_closed_over_http(server, what, tmp_path):
    body = {"key": "/x", "offset": 0, "byte_size": 8, "log_file": str(tmp_path / "log")}
    status, text = post(server, CLOSED[what], body)
    assert status == 403 and "restricted" in text
    assert not (tmp_path / "log").exists()
    assert ask(server.http_url, "plus_one", [1]) == [2]


def test_so_are_they_over_grpc(server, tmp_path):
    grpc = pytest.importorskip("tritonclient.grpc")
    from tritonclient.utils import InferenceServerException

    trace = tmp_path / "trace"
    attack = code_that_touches(trace)
    config = attack.pop("config")
    files = {name: base64.b64decode(text) for name, text in attack.items()}
    with grpc.InferenceServerClient(server.grpc_url) as client:
        assert client.is_server_ready() and client.is_model_ready("plus_one")
        for call in (
            lambda: client.load_model("evil", config=config, files=files),
            lambda: client.unload_model("plus_one"),
            lambda: client.get_model_repository_index(),
            lambda: client.register_system_shared_memory("r", "/x", 8),
            lambda: client.unregister_system_shared_memory(),
            lambda: client.update_trace_settings(settings={"trace_level": "OFF"}),
            lambda: client.update_log_settings({"log_file": str(tmp_path / "log")}),
        ):
            with pytest.raises(InferenceServerException, match="restricted"):
                call()
    assert list(tmp_path.iterdir()) == []
    assert ask(server.http_url, "plus_one", [1]) == [2]


def test_memory_and_log_are_the_users_alone(triton, tmp_path):
    for name in ("plus_one", "later"):
        write_model(tmp_path, name)
    with TritonServer(tmp_path, load=["plus_one"]) as server:
        server.load("later")
        for name in ("plus_one", "later"):
            assert ask(server.http_url, name, [1]) == [2]
        shared = list(Path("/dev/shm").glob(f"{Path(server._shared_memory).name}*"))
        assert len(shared) >= 2
        for path in (*shared, server._log, server._folder):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_no_name_leads_out_of_the_repository(server, tmp_path):
    for name in ("../plus_one", "%2e%2e%2fplus_one", str(tmp_path)):
        status, _ = post(server, f"/v2/models/{name}/infer", {"inputs": []})
        assert status >= 400
    assert group_is_alive(server._process.pid)


def test_requests_of_no_sense_are_answered_with_errors(server):
    for body in (b"{", b"\xff" * 100, b"[]", b'{"inputs": 1}', b"{}" * 1000):
        assert post(server, "/v2/models/plus_one/infer", body)[0] >= 400
    for shape in ([-1], [3], [2**20], [1, 1]):
        tensor = {"name": "x", "shape": shape, "datatype": "INT64", "data": [1]}
        assert post(server, "/v2/models/plus_one/infer", {"inputs": [tensor]})[0] >= 400
    assert ask(server.http_url, "plus_one", [1]) == [2]


def test_an_address_is_taken_by_name_only(triton, tmp_path):
    write_model(tmp_path, "plus_one")
    with TritonServer(tmp_path, host="0.0.0.0") as server:
        assert server.http_url.startswith("127.0.0.1:")
        assert ask(server.http_url, "plus_one", [1]) == [2]
        listening = Path("/proc/net/tcp").read_text()
        for port in (server.http_port, server.grpc_port, server.metrics_port):
            both = Path("/proc/net/tcp6").read_text() + listening
            assert f"00000000:{port:04X}" in both
    with (
        pytest.raises(RuntimeError, match="Triton cannot have"),
        TritonServer(tmp_path, host="203.0.113.7"),
    ):
        raise AssertionError
