"""Devices that share a step train the rows that any of them touched."""

import keras
import numpy as np
import pytest
from own_process import run

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="gradients of rows are TensorFlow's only",
)


def test_two_devices_train_rows_as_one_does():
    one, two = (run("mirrored_rows.py", n) for n in (1, 2))
    assert list(one) == list(two) and len(one) == 3
    for kind in one:
        np.testing.assert_allclose(two[kind], one[kind], rtol=1e-5, err_msg=kind)
