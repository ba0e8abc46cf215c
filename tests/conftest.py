import atexit
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Tests run side by side: PyTorch's threads would wait for each other's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if os.environ.get("KERAS_BACKEND") == "jax":
    # Tests compile much and compute little: without LLVM's optimisations JAX runs them
    # in two thirds of the time, and without fused kernels of MLIR it compiles twice as
    # fast again.
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
    )
    # And what one test or process compiled, the others need not.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        compiled = tempfile.mkdtemp(prefix="keras_t4r-compiled-")
        atexit.register(shutil.rmtree, compiled, ignore_errors=True)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# PyTorch's GPU compiler, which its CUDA builds bring along: loaded after TensorFlow it
# takes the process down (each carries an LLVM of its own). PyTorch runs without it.
sys.modules.setdefault("triton", None)

import keras  # noqa: E402
import pytest  # noqa: E402
from kept_graphs import forget_graphs  # noqa: E402
from seeds import set_seed  # noqa: E402

REPOSITORY = Path(__file__).parents[1]


# First, for xdist reads the groups when its own turn comes.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Tests run on the backends that they name. Where they run in several processes,
    those that share what is slow to make stay together: models of one case, else files.
    Bodies are small: they go anywhere."""
    elsewhere = [item for item in items if not _runs_here(item)]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in set(elsewhere)]
    for item in items:
        folder = item.path.parent.name
        params = getattr(getattr(item, "callspec", None), "params", {})
        if folder == "models" and "case" in params:
            item.add_marker(pytest.mark.xdist_group(str(params["case"])))
        elif folder != "bodies":
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def _runs_here(item):
    backend = keras.backend.backend()
    named = {name for mark in item.iter_markers("backends") for name in mark.args}
    return backend == "tensorflow" or not named or backend in named


def pytest_collection_finish(session):
    """What the libraries made on import stays: garbage is sought in what tests make,
    and seldom, for they make much that lasts as long as they do."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_sessionfinish():
    """What is left goes with the process: pytest would look through it five times."""
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_session():
    """Every test starts from the same seed and in float32."""
    keras.config.set_dtype_policy("float32")
    set_seed(7)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module", autouse=True)
def free_memory():
    yield
    forget_graphs()


@pytest.fixture
def quick_collections():
    """Keras collects garbage for each layer that it quantises: what is there already
    need not be looked through each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real click logs: $KERAS_T4R_DATA, or ../shared/data of a checkout."""
    folder = Path(
        os.environ.get("KERAS_T4R_DATA", REPOSITORY.parent / "shared" / "data")
    )
    if not folder.is_dir():
        pytest.skip(f"the real click logs are not here (no folder {folder})")
    return folder
