"""Where the `nvidia-pytriton` wheel keeps Triton's files, found without its code."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

_INSTALL = "`pip install keras_t4r[triton]` brings it, on Python 3.10 to 3.12."

# Run by the interpreter that Triton's Python models are to run in.
_QUESTIONS = """
import ctypes.util, importlib.metadata, importlib.util, json, sys, sysconfig
version = f"{sys.version_info.major}.{sys.version_info.minor}"
spec = importlib.util.find_spec("pytriton")
try:
    numpy = importlib.metadata.version("numpy")
except importlib.metadata.PackageNotFoundError:
    numpy = None
print(json.dumps({
    "version": version,
    "wheel": list(spec.submodule_search_locations)[0] if spec else None,
    "numpy": numpy,
    "folders": [sysconfig.get_config_var("LIBDIR") or "", sys.base_prefix + "/lib"],
    "libpython": ctypes.util.find_library("python" + version),
}))
"""


def default_python():
    """`$KERAS_T4R_TRITON_PYTHON`, or the running interpreter."""
    return os.environ.get("KERAS_T4R_TRITON_PYTHON") or sys.executable


def interpreter_facts(python):
    """Asks an interpreter what a server needs to know about it.

    Args:
        python: path. A Python executable, of a virtual environment or not.

    Returns:
        A dict: `version`, such as `"3.11"`; `wheel`, the folder of `pytriton` or
        `None`; `numpy`, its version or `None`; `folders` that may hold libpython;
        `libpython`, its name if the system knows it.

    Raises:
        FileNotFoundError: there is no such interpreter.
    """
    try:
        result = subprocess.run(
            [python, "-c", _QUESTIONS], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise FileNotFoundError(
            f"{python} is no Python that runs: {error}. Give the path of one, as "
            "venv/bin/python."
        ) from error
    return json.loads(result.stdout)


def wheel_folder(facts):
    """Finds the `tritonserver` folder of the `nvidia-pytriton` wheel.

    The wheel's Python code is never imported; only its files are used.

    Args:
        facts: dict. What `interpreter_facts` returned.

    Returns:
        A `pathlib.Path` to the folder that holds `bin/tritonserver`.

    Raises:
        ImportError: the wheel is not installed, or does not go with this Python.
    """
    if facts["wheel"] is None:
        raise ImportError(
            "The Triton server comes from the `nvidia-pytriton` wheel, which is not "
            f"installed: {_INSTALL}"
        )
    folder = pathlib.Path(facts["wheel"]) / "tritonserver"
    if not (folder / "bin" / "tritonserver").is_file():
        raise ImportError(
            f"The `nvidia-pytriton` at {folder.parent} holds no `tritonserver` for "
            f"this platform: {_INSTALL}"
        )
    # Fixed upstream after the wheel was built (python_backend, pull request 384).
    if facts["numpy"] is None or int(facts["numpy"].split(".")[0]) > 1:
        raise ImportError(
            "The Python backend of the `nvidia-pytriton` wheel needs numpy 1; it "
            f"misreads the arrays of others, and this Python has {facts['numpy']}. "
            "Install `numpy<2` (Python 3.10 to 3.12), or name the interpreter of an "
            "environment that has it: TritonServer(…, python='venv/bin/python'), or "
            "the variable KERAS_T4R_TRITON_PYTHON."
        )
    return folder


def assemble_backends(wheel, folder, facts):
    """Puts the Python backend and the stub of a Python version into one folder.

    Args:
        wheel: path. What `wheel_folder` returned.
        folder: path. Made here, to be given as `--backend-directory`.
        facts: dict. What `interpreter_facts` returned.

    Raises:
        ImportError: the wheel has no stub for the Python version.
    """
    stubs = wheel / "python_backend_stubs"
    stub = stubs / facts["version"] / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in stubs.glob("*")))
        raise ImportError(
            f"The installed `nvidia-pytriton` runs Python models on {known}, not on "
            f"Python {facts['version']}: {_INSTALL}"
        )
    target = pathlib.Path(folder) / "python"
    shutil.copytree(
        wheel / "backends" / "python",
        target,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    # Copied, not linked: the server resolves links and would look beside them.
    shutil.copy2(stub, target / stub.name)


def environment(wheel, python, facts):
    """Builds the environment in which the server finds its libraries and Python.

    Args:
        wheel: path. What `wheel_folder` returned.
        python: path. The interpreter.
        facts: dict. What `interpreter_facts` returned.

    Returns:
        A copy of `os.environ` with `LD_LIBRARY_PATH`, `PATH` and `PYTHONPATH` set,
        so that Python models run in the interpreter's environment, with the very
        `keras_t4r` that starts the server where that is a checkout.

    Raises:
        ImportError: the Python version's shared library is nowhere to be found.
    """
    env = dict(os.environ)
    libraries = [str(wheel.parent.parent / "nvidia_pytriton.libs")]
    libraries += _python_library_folder(facts)
    _prepend(env, "LD_LIBRARY_PATH", libraries)
    # Links unresolved: a virtual environment is recognised by this path.
    _prepend(env, "PATH", [os.path.dirname(os.path.abspath(python))])
    package = str(pathlib.Path(__file__).resolve().parents[2])
    if package not in map(sysconfig.get_path, ("purelib", "platlib")):
        _prepend(env, "PYTHONPATH", [package])
    env.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return env


def _python_library_folder(facts):
    """The folder of libpython to add to the search path, or none where not needed."""
    name = f"libpython{facts['version']}.so.1.0"
    for folder in facts["folders"]:
        if os.path.isfile(os.path.join(folder, name)):
            return [folder]
    if facts["libpython"]:
        return []
    raise ImportError(
        f"Triton's Python backend needs the shared library {name}, and this Python "
        "was built without it: install the distribution's package (Debian and Ubuntu: "
        f"`apt-get install libpython{facts['version']}`), or use a Python that has it."
    )


def _prepend(env, name, entries):
    old = [env[name]] if env.get(name) else []
    env[name] = os.pathsep.join(entries + old)
