"""Triton's model configurations (`config.pbtxt`), as plain dicts → proto-text."""

import json

TRITON_TYPES = {
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "string": "TYPE_STRING",
}


class Symbol(str):
    """A name of an enum, which stands in proto-text without quotes."""


def tensor(name, dtype, shape, optional=False):
    """An input or output of a model.

    Args:
        name: string.
        dtype: string. A key of `TRITON_TYPES`.
        shape: sequence of ints, -1 where an axis is free.
        optional: bool. Whether a request may leave the input out.
    """
    described = {
        "name": name,
        "data_type": Symbol(TRITON_TYPES[dtype]),
        "dims": list(shape),
    }
    return {**described, "optional": Symbol("true")} if optional else described


def python_model(name, inputs, outputs, **parameters):
    """The configuration of a model that runs in Triton's Python backend."""
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
        "instance_group": [{"count": 1, "kind": Symbol("KIND_CPU")}],
        "parameters": [
            {"key": key, "value": {"string_value": value}}
            for key, value in parameters.items()
        ],
    }


def saved_model(name, inputs, outputs):
    """The configuration of a SavedModel in Triton's TensorFlow backend (≤ 25.02)."""
    return {
        "name": name,
        "platform": "tensorflow_savedmodel",
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
    }


def ensemble(name, inputs, outputs, steps):
    """The configuration of an ensemble.

    Args:
        name: string.
        inputs: list of `tensor`.
        outputs: list of `tensor`.
        steps: list of (model name, input map, output map); the maps go from the
            model's names to the ensemble's.
    """
    return {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
        "ensemble_scheduling": {
            "step": [
                {
                    "model_name": model,
                    "model_version": -1,
                    "input_map": _map(input_map),
                    "output_map": _map(output_map),
                }
                for model, input_map, output_map in steps
            ]
        },
    }


def to_text(config, indent=""):
    """Proto-text of a configuration."""
    lines = []
    for key, value in config.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                inside = to_text(one, indent + "  ")
                lines.append(f"{indent}{key} {{\n{inside}{indent}}}")
            elif isinstance(one, str) and not isinstance(one, Symbol):
                lines.append(f"{indent}{key}: {json.dumps(one, ensure_ascii=False)}")
            else:
                lines.append(f"{indent}{key}: {one}")
    return "".join(line + "\n" for line in lines)


def _map(names):
    return [{"key": key, "value": value} for key, value in names.items()]
