"""Where the `nvidia-pytriton` wheel keeps Triton's files, found without its code."""

import ctypes.util
import importlib.util
import os
import pathlib
import shutil
import sys
import sysconfig

_INSTALL = (
    "`pip install keras_t4r[triton]` brings it (where numpy 2 is installed: "
    "`pip install --no-deps nvidia-pytriton==0.7.0`, since only its files are used)."
)


def wheel_folder():
    """Finds the `tritonserver` folder of the `nvidia-pytriton` wheel.

    The wheel's Python code is never imported: it pins `numpy<2`, the server does
    not need it.

    Returns:
        A `pathlib.Path` to the folder that holds `bin/tritonserver`.

    Raises:
        ImportError: the wheel is not installed, or holds no server.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "The Triton server comes from the `nvidia-pytriton` wheel, which is not "
            f"installed: {_INSTALL}"
        )
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "tritonserver"
    if not (folder / "bin" / "tritonserver").is_file():
        raise ImportError(
            f"The `nvidia-pytriton` installed at {folder.parent} holds no "
            f"`tritonserver` for this platform: {_INSTALL}"
        )
    return folder


def assemble_backends(wheel, folder):
    """Puts the Python backend and the stub of this Python version into one folder.

    Args:
        wheel: path. What `wheel_folder` returned.
        folder: path. An empty folder, to be given as `--backend-directory`.

    Raises:
        ImportError: the wheel has no stub for the running Python version.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stubs = wheel / "python_backend_stubs"
    stub = stubs / version / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in stubs.glob("*")))
        raise ImportError(
            f"The installed `nvidia-pytriton` runs Python models on {known}, not on "
            f"Python {version}: {_INSTALL}"
        )
    target = pathlib.Path(folder) / "python"
    shutil.copytree(
        wheel / "backends" / "python",
        target,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    # Copied, not linked: the server resolves links and would look beside them.
    shutil.copy2(stub, target / stub.name)


def environment(wheel):
    """Builds the environment in which the server finds its libraries and Python.

    Args:
        wheel: path. What `wheel_folder` returned.

    Returns:
        A copy of `os.environ` with `LD_LIBRARY_PATH`, `PATH` and `PYTHONPATH` set,
        so that Python models run in the interpreter's own environment, with the
        very `keras_t4r` that starts the server.

    Raises:
        ImportError: this Python version's shared library is nowhere to be found.
    """
    env = dict(os.environ)
    libraries = [str(wheel.parent.parent / "nvidia_pytriton.libs")]
    libraries += _python_library_folder(libraries[0])
    _prepend(env, "LD_LIBRARY_PATH", libraries)
    # `sys.executable` unresolved: a virtual environment is recognised by this path.
    _prepend(env, "PATH", [os.path.dirname(sys.executable)])
    package = str(pathlib.Path(__file__).resolve().parents[2])
    if package not in map(sysconfig.get_path, ("purelib", "platlib")):
        _prepend(env, "PYTHONPATH", [package])
    env.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return env


def _python_library_folder(wheel_libraries):
    """The folder of libpython to add to the search path, or none where not needed."""
    major, minor = sys.version_info[:2]
    name = f"libpython{major}.{minor}.so.1.0"
    for folder in (
        sysconfig.get_config_var("LIBDIR") or "",
        os.path.join(sys.base_prefix, "lib"),
    ):
        if os.path.isfile(os.path.join(folder, name)):
            return [folder]
    if ctypes.util.find_library(f"python{major}.{minor}"):
        return []
    # auditwheel names the copies it brings after their content.
    if any(pathlib.Path(wheel_libraries).glob(f"libpython{major}-*.{minor}.so.1.0")):
        return []
    raise ImportError(
        f"Triton's Python backend needs the shared library {name}, and this Python "
        f"({sys.executable}) was built without it: install the distribution's package "
        f"(Debian and Ubuntu: `apt-get install libpython{major}.{minor}`), or use a "
        "Python that has it."
    )


def _prepend(env, name, entries):
    old = [env[name]] if env.get(name) else []
    env[name] = os.pathsep.join(entries + old)
