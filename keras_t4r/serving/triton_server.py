"""A local Triton Inference Server, as a context manager and as a command."""

import argparse
import atexit
import contextlib
import glob
import http.client
import json
import os
import pathlib
import secrets
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request

from keras_t4r.files import as_path, finish_or_clear
from keras_t4r.serving import triton_files, triton_process

_LOCALHOST = "127.0.0.1"
_PORTS = ("http_port", "grpc_port", "metrics_port")
# What only this object may ask of the server.
_LOCKED = ("model-repository", "shared-memory", "trace", "logging")
_SECRET_HEADER = "keras-t4r-secret"


class TritonServer:
    """A real `tritonserver` on this machine, from the `nvidia-pytriton` wheel.

    No container and no GPU is needed. The server runs Python models in the environment
    of an interpreter, is ready for requests when `start` returns (or the `with` block
    begins), and is gone with its processes and shared memory when `stop` returns (or
    the block ends), or when the process that started it dies.

    It listens on the loopback interface, unless `host` names another. Whoever reaches
    its ports may ask its models, and see their names, inputs and statistics. To load
    and unload models (which runs code), to register shared memory and to set traces and
    logs takes a secret that this object makes for itself and sends along; its files and
    shared memory are the user's alone. The secret stands on the server's command line,
    which other users of the machine can read unless `/proc` hides it. A request of a
    shape that is out of all bounds brings this Triton down (seen at 2.60, over HTTP as
    JSON), so whoever opens it to strangers puts a proxy before it.

    Args:
        model_repository: path. A folder of Triton models. What lies in it is code:
            the server runs its `model.py` files.
        http_port: int. Defaults to `0`, a free port.
        grpc_port: int. Defaults to `0`, a free port.
        metrics_port: int. Defaults to `0`, a free port.
        startup_timeout: float. Seconds to wait for all models to be ready.
        load: `"all"` or a sequence of names. Which models to load at the start (an
            ensemble brings its parts); the others wait for `load`.
        log: path or `None`. File for the server's log. By default it is kept while
            the server runs only.
        python: path or `None`. The interpreter whose environment holds the wheel and
            runs Python models; it needs numpy 1. By default the one that the variable
            `KERAS_T4R_TRITON_PYTHON` names, or the running one.
        host: string. The address to listen on; `"0.0.0.0"` for all interfaces.

    Raises:
        ImportError: `nvidia-pytriton` is missing, or does not fit this Python.
        FileNotFoundError: there is no such model repository.
        RuntimeError: the server did not start; the message holds its own error lines.
        TimeoutError: it was not ready in time.

    Example:

    ```python
    with keras_t4r.TritonServer("models/") as server:
        client = keras_t4r.TritonClient(server.http_url)
        client.recommend("t4rec", [{"session_id": 1, "item_id": 214717005, ...}])
    ```
    """

    def __init__(
        self,
        model_repository,
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        startup_timeout=180.0,
        load="all",
        log=None,
        python=None,
        host=_LOCALHOST,
    ):
        self.model_repository = as_path(model_repository, "models").resolve()
        if not self.model_repository.is_dir():
            raise FileNotFoundError(
                f"There is no model repository at {model_repository}: write one with "
                "`export_tensorflow_ensemble`."
            )
        self.http_port = http_port
        self.grpc_port = grpc_port
        self.metrics_port = metrics_port
        self.startup_timeout = startup_timeout
        self.log = None if log is None else as_path(log, "a log")
        self.python = python or triton_files.default_python()
        self.host = host
        self._secret = secrets.token_urlsafe(32)
        self._load = ("*",) if load == "all" else _names(load)
        self._process = self._lifeline = self._folder = None
        self._shared_memory = f"/dev/shm/keras_t4r_{secrets.token_hex(6)}_"

    @property
    def http_url(self):
        """Address for HTTP clients, `host:port`."""
        return f"{self._reached_at}:{self.http_port}"

    @property
    def grpc_url(self):
        """Address for gRPC clients, `host:port`."""
        return f"{self._reached_at}:{self.grpc_port}"

    @property
    def metrics_url(self):
        """Address of the Prometheus metrics."""
        return f"http://{self._reached_at}:{self.metrics_port}/metrics"

    @property
    def _reached_at(self):
        """The address at which this machine reaches the server."""
        return _LOCALHOST if self.host == "0.0.0.0" else self.host

    def start(self):
        """Starts the server and waits until it is ready. Returns the server."""
        if self._process is not None:
            raise RuntimeError(f"This server runs already, at {self.http_url}.")
        facts = triton_files.interpreter_facts(self.python)
        wheel = triton_files.wheel_folder(facts)
        environment = triton_files.environment(wheel, self.python, facts)
        finish_or_clear(self.model_repository.parent)
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="keras_t4r_triton_"))
        try:
            triton_files.assemble_backends(wheel, self._folder / "backends", facts)
            self._log = self.log or self._folder / "server.log"
            wanted = {name: getattr(self, name) for name in _PORTS}
            for name, port in triton_process.choose_ports(self.host, wanted).items():
                setattr(self, name, port)
            self._process, self._lifeline = triton_process.start(
                self._command(wheel),
                environment,
                self._log,
                [str(self._folder), self._shared_memory],
            )
            atexit.register(self.stop)
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Ends the server, all its processes, and removes its temporary files."""
        atexit.unregister(self.stop)
        if self._process is not None:
            triton_process.end(self._process, self._lifeline)
            self._process = self._lifeline = None
        for path in glob.glob(f"{self._shared_memory}*"):
            os.unlink(path)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def wait(self):
        """Waits until the server ends by itself. Returns its exit status."""
        return self._process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()

    def load(self, name):
        """Loads a model, or loads it anew from the files as they are now.

        Args:
            name: str. A model of the repository; an ensemble brings its parts.

        Raises:
            RuntimeError: with Triton's own reason.
        """
        self._ask(f"v2/repository/models/{name}/load", {})
        self._close_memory()

    def unload(self, name):
        """Unloads a model, and waits until it is gone.

        An ensemble takes the parts with it that were loaded for its sake only.

        Args:
            name: str. A loaded model.

        Raises:
            RuntimeError: with Triton's own reason.
        """
        self._ask(
            f"v2/repository/models/{name}/unload",
            {"parameters": {"unload_dependents": True}},
        )
        deadline = time.monotonic() + self.startup_timeout
        while self.ready(name) and time.monotonic() < deadline:
            time.sleep(0.02)

    def ready(self, name=None):
        """Tells whether a model answers (without a name: the server).

        Args:
            name: str or `None`. A model's name.

        Returns:
            bool.
        """
        place = "v2/health/ready" if name is None else f"v2/models/{name}/ready"
        return _answers(f"http://{self.http_url}/{place}")

    def _command(self, wheel):
        command = [
            wheel / "bin" / "tritonserver",
            f"--model-repository={self.model_repository}",
            f"--backend-directory={self._folder / 'backends'}",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in self._load),
            "--backend-config=python,shm-region-prefix-name="
            + os.path.basename(self._shared_memory),
            f"--exit-timeout-secs={triton_process.STOP_TIMEOUT}",
        ]
        locked = f"{','.join(_LOCKED)}:{_SECRET_HEADER}={self._secret}"
        command.append(f"--http-restricted-api={locked}")
        command.append(f"--grpc-restricted-protocol={locked}")
        for name in _PORTS:
            kind = name.removesuffix("_port")
            command.append(f"--{kind}-address={self.host}")
            command.append(f"--{kind}-port={getattr(self, name)}")
        return [str(part) for part in command]

    def _wait(self):
        deadline = time.monotonic() + self.startup_timeout
        # The metrics are the last that it offers.
        while not (self.ready() and _answers(self.metrics_url)):
            if self._process.poll() is not None:
                raise RuntimeError(
                    f"Triton ended at its start, with status "
                    f"{self._process.returncode}:\n{triton_process.error_lines(self._log)}"
                )
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Triton was not ready within {self.startup_timeout} s:\n"
                    f"{triton_process.error_lines(self._log)}"
                )
            time.sleep(0.05)
            self._close_memory()
        self._close_memory()

    def _close_memory(self):
        """Takes what the Python backend shares from others, which it opens to all."""
        for path in glob.glob(f"{self._shared_memory}*"):
            with contextlib.suppress(FileNotFoundError):
                os.chmod(path, 0o600)

    def _ask(self, place, body):
        request = urllib.request.Request(
            f"http://{self.http_url}/{place}",
            data=json.dumps(body).encode(),
            headers={_SECRET_HEADER: self._secret},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.startup_timeout):
                pass
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                text = json.loads(text)["error"]
            except (ValueError, KeyError, TypeError):
                pass  # not Triton's usual form: show it as it came
            raise RuntimeError(f"Triton says: {text}") from error
        except (OSError, http.client.HTTPException) as error:
            raise RuntimeError(
                f"No Triton server answers at {self.http_url}: start it first."
            ) from error


def _names(load):
    if isinstance(load, str):
        raise ValueError(
            f'`load` is "all" or a sequence of model names; received: {load!r}.'
        )
    return tuple(load)


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (OSError, http.client.HTTPException):
        return False


def main(arguments=None):
    """Serves a model repository until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="keras-t4r-triton",
        description="Serves a Triton model repository on this machine.",
    )
    parser.add_argument("model_repository", metavar="REPO")
    parser.add_argument("--http-port", type=int, default=8000)
    parser.add_argument("--grpc-port", type=int, default=8001)
    parser.add_argument("--metrics-port", type=int, default=8002)
    parser.add_argument("--startup-timeout", type=float, default=180.0)
    parser.add_argument(
        "--load", action="append", metavar="MODEL", help="load this one (default: all)"
    )
    parser.add_argument("--log", metavar="FILE", help="keep the server's log")
    parser.add_argument(
        "--python",
        metavar="EXE",
        help="run Python models by it (default: $KERAS_T4R_TRITON_PYTHON, or this one)",
    )
    parser.add_argument(
        "--host", default=_LOCALHOST, help="listen on this address (default: loopback)"
    )
    options = vars(parser.parse_args(arguments))
    options["load"] = options["load"] or "all"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with TritonServer(**options) as server:
            print(f"HTTP     {server.http_url}")
            print(f"gRPC     {server.grpc_url}")
            print(f"metrics  {server.metrics_url}", flush=True)
            return server.wait()
    except KeyboardInterrupt:
        return 0
    except (ImportError, OSError, RuntimeError) as error:
        print(f"keras-t4r-triton: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
