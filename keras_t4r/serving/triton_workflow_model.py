"""Triton Python model: raw interaction rows → padded inputs of a model.

`export_tensorflow_ensemble` copies this file into a model repository, beside the
saved workflow and the schema of the model that comes next. A request holds one
`(rows, 1)` tensor a raw column; the answer holds the session ids `(sessions, 1)`, in
the order in which the rows name them, and one padded tensor a column of the model.
With them go the ids of what is not to be answered, where the model answers with items;
a request that names none has none.
What the workflow finds wrong with the rows becomes the request's error.
"""

import importlib
import json
import os
import pathlib
import sys

import numpy as np
import pyarrow as pa
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        # Triton's interpreter takes no notice of it by itself.
        sys.path += os.environ.get("PYTHONPATH", "").split(os.pathsep)
        from keras_t4r.data.clicks.no_values import NO_VALUES
        from keras_t4r.models.answers.excluded import EXCLUDE, excluded_ids
        from keras_t4r.models.answers.sessions import RaggedSessions
        from keras_t4r.schema import Schema

        config = json.loads(args["model_config"])
        folder = pathlib.Path(args["model_repository"]) / args["model_version"]
        module, name = config["parameters"]["workflow"]["string_value"].split(":")
        workflow = getattr(importlib.import_module(module), name)
        self.workflow = workflow.load(folder / "workflow")
        self.columns = self.workflow.input_columns
        self.session = self.workflow.schema.session_id
        self.vocabularies = self.workflow.schema.vocabularies
        self.schema = Schema.load(folder / "schema.pbtxt")
        self.read = RaggedSessions
        self.exclude, self.excluded_ids = None, excluded_ids
        if any(tensor["name"] == EXCLUDE for tensor in config["input"]):
            self.exclude = EXCLUDE
            self.items = self.workflow.vocabulary(self.schema.item_id)
            self.nothing = NO_VALUES[self.items.dtype]
        self.warm_up()

    def warm_up(self):
        """One click that says nothing, so that no caller waits for a first time."""
        click = {"int64": [0], "float64": [0.0], "string": ["?"]}
        rows = {name: click[kind] for name, kind in self.columns.items()}
        time = self.workflow.config.time
        if self.columns[time] == "string":
            rows[time] = ["1970-01-01"]
        list(self.prepare(pa.table(rows)))

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            excluded = self.excluded(request)
            tensors = list(self.prepare(self.rows(request), excluded))
        except (ValueError, TypeError) as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([pb_utils.Tensor(*pair) for pair in tensors])

    def rows(self, request):
        columns = {}
        for name, kind in self.columns.items():
            values = pb_utils.get_input_tensor_by_name(request, name).as_numpy()[:, 0]
            columns[name] = _arrow(name, kind, values)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The columns differ in their number of rows: {lengths}.")
        if min(lengths.values()) == 0:
            raise ValueError("The request has no rows: send at least one click.")
        return pa.table(columns)

    def excluded(self, request):
        """The request's raw ids: a list for all sessions, or a list of lists."""
        if not self.exclude:
            return []
        tensor = pb_utils.get_input_tensor_by_name(request, self.exclude)
        if tensor is None:
            return []
        values = tensor.as_numpy()
        if self.items.dtype == "string":
            texts = _text(values.reshape(-1), self.exclude).to_pylist()
            values = np.array(texts, object).reshape(values.shape)
        lists = [row[row != self.nothing].tolist() for row in values]
        return lists[0] if len(lists) == 1 else lists

    def prepare(self, rows, excluded=()):
        sessions = self.workflow.transform(rows)
        keys = sessions[self.session].to_numpy()
        yield self.session, keys.reshape(-1, 1)
        # What the workflow makes carries its mark: the ids are encoded.
        encoded = self.read(sessions, self.schema, self.vocabularies)
        (batch,) = encoded.batches(len(encoded))
        yield from batch.items()
        if self.exclude:
            rows = self.schema[self.schema.item_id].cardinality
            ids = self.excluded_ids(excluded, len(encoded), self.items, rows)
            yield self.exclude, np.ascontiguousarray(ids)


def _arrow(name, kind, values):
    if kind == "string":
        return _text(values, f"Column {name!r}")
    # The workflow takes NaN, the least integer and empty text for null.
    return pa.array(values)


def _text(values, what):
    try:
        return pa.array(values, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid as error:
        raise ValueError(f"{what} is not UTF-8 text.") from error
