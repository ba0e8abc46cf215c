"""Several devices train to what one device trains to."""

import keras
import numpy as np
import penalty  # noqa: F401  (the file holds its layer)
import pytest
from own_process import run

SCRIPT = "distributed_runs.py"
KINDS = {"tensorflow": ["mirrored"], "jax": ["data", "model"], "torch": []}
pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run(SCRIPT, "one", tmp_path_factory.mktemp("one") / "model.keras")


@pytest.mark.parametrize("kind", KINDS[keras.backend.backend()])
def test_losses_metrics_and_answers_are_those_of_one_device(kind, one, tmp_path):
    several = run(SCRIPT, kind, tmp_path / "model.keras")
    assert several["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert several["logs"] == pytest.approx(one["logs"], rel=1e-5)
    np.testing.assert_allclose(several["scores"], one["scores"], atol=1e-5)
    # The file is one device's too: it holds no row that stands for nothing.
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.features.tables["item_id"].shape == (43, 8)
