"""Programs of this folder, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras

FOLDER = Path(__file__).parent


def run(script, *arguments):
    """What a program prints as its last line, read as JSON.

    Devices must be named before a process starts, so that tests of several of them
    cannot do it themselves.
    """
    result = subprocess.run(
        [sys.executable, FOLDER / script, *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])
