"""A small model in Triton's Python backend, and how to ask it."""

import json
import os
import urllib.request

MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x + 1)]))
        return answers
"""
CONFIG = """
backend: "python"
input { name: "x" data_type: TYPE_INT64 dims: [-1] }
output { name: "y" data_type: TYPE_INT64 dims: [-1] }
instance_group { kind: KIND_CPU }
"""


def write_model(repository, name, program=MODEL):
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.py").write_text(program)
    (repository / name / "config.pbtxt").write_text(CONFIG)


def ask(url, name, values):
    tensor = {"name": "x", "shape": [len(values)], "datatype": "INT64", "data": values}
    body = json.dumps({"inputs": [tensor]}).encode()
    with urllib.request.urlopen(f"http://{url}/v2/models/{name}/infer", body) as reply:
        return json.loads(reply.read())["outputs"][0]["data"]


def group_is_alive(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True
