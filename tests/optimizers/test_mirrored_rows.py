"""Devices that share a step train the rows that any of them touched."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "support" / "mirrored_rows.py"
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="gradients of rows are TensorFlow's only",
)


def run(devices):
    """What a process of its own gives; its devices must be named before it starts."""
    result = subprocess.run(
        [sys.executable, SCRIPT, str(devices)],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        cwd=SCRIPT.parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_two_devices_train_rows_as_one_does():
    one, two = run(1), run(2)
    assert list(one) == list(two) and len(one) == 3
    for kind in one:
        np.testing.assert_allclose(two[kind], one[kind], rtol=1e-5, err_msg=kind)
