"""Triton Python model: runs the SavedModel that lies beside it.

`export_tensorflow_ensemble` copies this file into a model repository, for Triton
servers without a TensorFlow backend (26.x has none, 25.02 was the last). Only
TensorFlow is imported.
"""

import json
import os
import pathlib

import numpy as np
import triton_python_backend_utils as pb_utils

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf


class TritonPythonModel:
    def initialize(self, args):
        # Answers to single sessions are short: more threads cost more than they give.
        tf.config.threading.set_intra_op_parallelism_threads(
            min(4, len(os.sched_getaffinity(0)))
        )
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        folder = pathlib.Path(args["model_repository"]) / args["model_version"]
        config = json.loads(args["model_config"])
        self.inputs = [column["name"] for column in config["input"]]
        self.outputs = [column["name"] for column in config["output"]]
        self.serve = self.load(folder, config)
        self.warm_up(config["input"])

    def load(self, folder, config):
        """The function from tensors to those of the answer, by their names."""
        self.loaded = tf.saved_model.load(str(folder / "model.savedmodel"))
        return self.loaded.signatures["serving_default"]

    def warm_up(self, columns):
        """Two sessions of padding, so that no caller waits for TensorFlow."""
        for _ in range(2):
            inputs = {}
            for column in columns:
                dtype = pb_utils.triton_string_to_numpy(column["data_type"])
                shape = [2 if int(size) < 0 else int(size) for size in column["dims"]]
                inputs[column["name"]] = tf.constant(np.zeros(shape, dtype))
            self.serve(**inputs)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        inputs = {}
        for name in self.inputs:
            values = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            inputs[name] = tf.convert_to_tensor(values)
        try:
            outputs = self.serve(**inputs)
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            # One caller's fault is no fault of those who asked at the same time.
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, outputs[name].numpy()) for name in self.outputs]
        )
