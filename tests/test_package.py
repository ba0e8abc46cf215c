import subprocess
import sys

import keras_t4r as t4r

# pandas is not among them: Keras itself imports it where it is installed.
HEAVY = ("nvtabular", "merlin", "tritonclient", "torch", "tensorflow_serving")


def test_importing_the_package_loads_no_extra():
    code = f"import keras_t4r, sys; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


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
