import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from triton_models import MODEL, ask, group_is_alive, write_model

from keras_t4r.serving import triton_files, triton_server
from keras_t4r.serving.triton_server import TritonServer


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def repository(tmp_path):
    write_model(tmp_path / "models", "plus_one")
    return tmp_path / "models"


def test_models_answer_load_and_unload(triton, repository):
    write_model(repository, "later", MODEL.replace("x + 1", "x + 2"))
    with TritonServer(repository, load=["plus_one"]) as server:
        assert server.ready()
        assert ask(server.http_url, "plus_one", [1, 2]) == [2, 3]
        assert not server.ready("later")
        server.load("later")
        assert ask(server.http_url, "later", [1, 2]) == [3, 4]
        server.unload("later")
        assert not server.ready("later")
        assert server.ready("plus_one")
        with pytest.raises(RuntimeError, match=r"Triton says: .*missing"):
            server.load("missing")
        with urllib.request.urlopen(server.metrics_url) as metrics:
            assert b"nv_inference_request_success" in metrics.read()


def test_it_listens_on_the_loopback_interface_only(triton, repository):
    with TritonServer(repository) as server:
        ports = {server.http_port, server.grpc_port, server.metrics_port}
        assert len(ports) == 3
        found = {}
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state = line.split()[:4]
                address, port = local.split(":")
                if state == "0A" and int(port, 16) in ports:  # it listens
                    found[int(port, 16)] = address
        # 127.0.0.1, also as an IPv6 address; little-endian.
        mapped = "0000000000000000FFFF00000100007F"
        assert set(found) == ports
        assert set(found.values()) <= {"0100007F", mapped}


def test_nothing_is_left_when_the_block_ends(triton, repository, tmp_path):
    log = tmp_path / "server.log"
    with TritonServer(repository, log=log) as server:
        pid, shared, folder = server._process.pid, server._shared_memory, server._folder
        assert list(Path("/dev/shm").glob(f"{Path(shared).name}*"))
    assert not group_is_alive(pid)
    assert not list(Path("/dev/shm").glob(f"{Path(shared).name}*"))
    assert not folder.exists()
    assert "successfully loaded 'plus_one'" in log.read_text()


def test_nothing_is_left_when_the_process_is_killed(triton, repository):
    program = (
        "import sys, time\n"
        "from keras_t4r.serving.triton_server import TritonServer\n"
        "server = TritonServer(sys.argv[1]).start()\n"
        "print(server._process.pid, server._shared_memory, server._folder)\n"
        "sys.stdout.flush()\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(repository)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with parent:
        pid, shared, folder = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not group_is_alive(int(pid)))
    assert wait_until(lambda: not Path(folder).exists())
    assert not list(Path("/dev/shm").glob(f"{Path(shared).name}*"))


def test_a_model_that_fails_to_load_shows_triton_s_own_words(triton, repository):
    write_model(repository, "broken", "import no_such_package\n")
    server = TritonServer(repository)
    with pytest.raises(RuntimeError, match="No module named 'no_such_package'"):
        server.start()
    assert server._process is None
    assert server._folder is None


def test_a_taken_port_gets_a_sentence(triton, repository):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"cannot have http_port {port}"):
            TritonServer(repository, http_port=port).start()


def test_a_missing_repository_gets_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model repository at"):
        TritonServer(tmp_path / "none")


def test_one_name_is_no_list_of_names(tmp_path):
    with pytest.raises(ValueError, match="sequence of model names"):
        TritonServer(tmp_path, load="shop")


FACTS = {"version": "3.11", "wheel": None, "numpy": "1.26.4", "folders": []}


def wheel_at(folder, **facts):
    """Facts of a Python whose wheel lies in a folder."""
    (folder / "tritonserver" / "bin").mkdir(parents=True)
    (folder / "tritonserver" / "bin" / "tritonserver").touch()
    return {**FACTS, "wheel": str(folder), **facts}


def test_without_the_wheel_the_extra_is_named():
    with pytest.raises(ImportError, match=r"keras_t4r\[triton\]"):
        triton_files.wheel_folder(FACTS)


@pytest.mark.parametrize("numpy", ["2.1.0", None])
def test_another_numpy_than_1_gets_a_sentence(tmp_path, numpy):
    facts = wheel_at(tmp_path, numpy=numpy)
    with pytest.raises(ImportError, match=f"needs numpy 1; .* has {numpy}"):
        triton_files.wheel_folder(facts)


def test_without_the_stub_of_this_python_the_versions_are_named(tmp_path):
    (tmp_path / "python_backend_stubs" / "2.7").mkdir(parents=True)
    with pytest.raises(ImportError, match=r"on 2\.7, not on Python 3\.11"):
        triton_files.assemble_backends(tmp_path, tmp_path / "backends", FACTS)


def test_without_libpython_the_package_to_install_is_named(tmp_path):
    facts = {**FACTS, "folders": [str(tmp_path)], "libpython": None}
    with pytest.raises(ImportError, match=r"apt-get install libpython3\.11"):
        triton_files.environment(tmp_path / "a" / "b", sys.executable, facts)


def test_a_python_that_is_none_gets_a_sentence(repository, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no Python that runs"):
        TritonServer(repository, python=tmp_path / "python").start()


def test_models_run_in_the_environment_of_the_interpreter(triton, repository):
    write_model(repository, "where", "import sys\nraise ValueError(sys.prefix)\n")
    python = triton_files.default_python()
    prefix = str(Path(python).parents[1])
    with pytest.raises(RuntimeError, match=re.escape(f"ValueError: {prefix}")):
        TritonServer(repository, python=python).start()


def test_a_variable_names_the_interpreter(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_T4R_TRITON_PYTHON", "elsewhere/bin/python")
    assert TritonServer(tmp_path).python == "elsewhere/bin/python"
    assert TritonServer(tmp_path, python="here").python == "here"


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert triton_server.main([str(tmp_path / "none")]) == 1
    assert "no model repository" in capsys.readouterr().err


def test_the_command_serves_until_it_is_told_to_stop(triton, repository):
    command = [sys.executable, "-m", "keras_t4r.serving.triton_server", str(repository)]
    for kind in ("http", "grpc", "metrics"):
        command += [f"--{kind}-port", "0"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    with server:
        try:
            url = server.stdout.readline().split()[1]
            assert ask(url, "plus_one", [4]) == [5]
        finally:
            server.terminate()
        assert server.wait(60) == 0
