"""Triton Python model: searches the index that lies beside it, and ranks what it finds.

`export_tensorflow_ensemble` copies this file into a model repository where it is given
an index. Beside it lie the SavedModel of what comes before and after the search, and
the index, which is read as `load_index` reads it: arrays, and nothing that runs.
"""

import json
import os
import sys

import numpy as np

# Triton's interpreter takes no notice of it by itself.
sys.path += os.environ.get("PYTHONPATH", "").split(os.pathsep)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

from keras_t4r.models.answers.excluded import EXCLUDE
from keras_t4r.models.answers.retriever import Retriever
from keras_t4r.retrieval import load_index
from keras_t4r.serving import triton_saved_model


class TritonPythonModel(triton_saved_model.TritonPythonModel):
    def load(self, folder, config):
        how = json.loads(config["parameters"]["retrieval"]["string_value"])
        self.seen, self.candidates = how["seen"], how["candidates"]
        self.index = load_index(folder / "index")
        self.loaded = tf.saved_model.load(str(folder / "model.savedmodel"))
        ask, rank = (_of_arrays(self.loaded, name) for name in ("query", "best"))
        self.retriever = Retriever(ask, rank, how["k"], how["reads_rest"])
        return self.retrieve

    def retrieve(self, **inputs):
        exclude = inputs.pop(EXCLUDE).numpy()
        if self.seen:
            exclude = np.concatenate([inputs[self.seen].numpy(), exclude], axis=1)
        if not exclude.any():
            exclude = None
        scores, ids = self.retriever.answer(
            inputs, self.index, self.candidates, exclude
        )
        raw = self.loaded.signatures["decode"](ids=tf.constant(ids))["raw"]
        # The configuration names the ids first.
        return dict(zip(self.outputs, (raw, tf.constant(scores)), strict=True))


def _of_arrays(loaded, name):
    """A signature of a SavedModel, of arrays instead of tensors."""
    serve = loaded.signatures[name]

    def answer(x):
        found = serve(
            **{name: tf.convert_to_tensor(value) for name, value in x.items()}
        )
        return {name: np.asarray(value) for name, value in found.items()}

    return answer
