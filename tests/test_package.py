import subprocess
import sys
from pathlib import Path

import keras_t4r as t4r

# pandas is not among them: Keras itself imports it where it is installed.
HEAVY = ("nvtabular", "merlin", "tritonclient", "torch", "tensorflow_serving")


def test_importing_the_package_loads_no_extra():
    code = f"import keras_t4r, sys; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_no_room_is_overfull():
    root = Path(t4r.__file__).parent
    rooms = [root, *(p for p in root.rglob("*") if p.is_dir())]
    sizes = {str(r.relative_to(root)): len(list(r.glob("*.py"))) for r in rooms}
    assert {room: n for room, n in sizes.items() if n > 16} == {}


def test_the_core_names_are_public():
    for name in (
        "SequenceEmbeddingFeatures",
        "MaskedLanguageModeling",
        "PermutationLanguageModeling",
        "TransformerBlock",
        "NextItemHead",
        "KerasSequenceLoader",
        "export_tensorflow_ensemble",
    ):
        assert hasattr(t4r, name)
