"""Rows in, rows out, over a Triton server's HTTP or gRPC."""

import contextlib
import math
from pathlib import PurePath

import numpy as np

from keras_t4r.data.clicks.click_table import ClickTable
from keras_t4r.data.clicks.no_values import NO_VALUES
from keras_t4r.data.clicks.prepared import typed
from keras_t4r.data.clicks.table_columns import row_values, table_columns
from keras_t4r.models.answers.excluded import EXCLUDE, as_table, excluded_lists
from keras_t4r.schema.raw_values import read_ids
from keras_t4r.serving.served_outputs import EVENTS, SCORES
from keras_t4r.serving.tensorflow_ensemble import RESULT

_KINDS = {"INT64": "int64", "FP64": "float64", "BYTES": "string"}
_DATATYPES = {"int64": "INT64", "float64": "FP64", "object": "BYTES"}


class TritonClient:
    """Asks an ensemble of `export_tensorflow_ensemble` for its answers.

    Args:
        url: string. `host:port` of the server, as `TritonServer.http_url` or
            `TritonServer.grpc_url`.
        protocol: string. `"http"` or `"grpc"`, as the port speaks.
        timeout: float. Seconds to wait for an answer.

    Raises:
        ImportError: `tritonclient` is not installed.

    Example:

    ```python
    with TritonClient("localhost:8000") as client:
        client.recommend("t4rec", [
            {"session_id": 7, "timestamp": "2014-04-07T10:51:09Z", "item_id": 2145},
        ])
    # [{"session_id": 7, "item_id": [2147, …], "scores": [9.1, …]}]
    ```
    """

    def __init__(self, url, protocol="http", timeout=30.0):
        if protocol not in ("http", "grpc"):
            raise ValueError(f'`protocol` is "http" or "grpc", not {protocol!r}.')
        self.url = url
        self.protocol = protocol
        self.timeout = timeout
        self._triton = _import(protocol)
        if protocol == "http":
            self._client = self._triton.InferenceServerClient(
                url, connection_timeout=timeout, network_timeout=timeout
            )
        else:
            self._client = self._triton.InferenceServerClient(url)
        self._models = {}

    def recommend(self, name, rows, exclude=None):
        """Recommends for each session of the rows, by a model of one output.

        Args:
            name: string. The ensemble, of a model that scores items and has no other
                output; `predict` asks any.
            rows: list of dicts or named tuples, dict of columns, or a frame (polars,
                pandas, pyarrow). Raw interaction rows, with values of the types that
                the ensemble declares; columns that it does not read are left aside, and
                `None` and NaN mean "no value".
            exclude: list of raw ids of items that are not to be answered, or a list of
                such lists, one for each session, in the order in which the rows first
                name them. As of `SessionModel.recommend`.

        Returns:
            A list of dicts, one a session, in the order in which the rows first
            name them: the session column with the raw id, the item column with the
            list of the best items' raw ids, `"scores"` with the list of their scores.
            Where fewer items are left than were asked for, the last ones are `None`,
            with score minus infinity.

        Raises:
            ConnectionError: no server answers at the address.
            ValueError: a column is missing, or the ensemble has other outputs; there
                is not a list of `exclude` for each session.
            TypeError: a column has values of another type, or of several; `exclude` is
                neither, or has ids of another type.
            RuntimeError: the server's own error.
        """
        names = [x["name"].removeprefix(RESULT) for x in self._outputs(name)]
        if names[2:] != [SCORES]:
            raise ValueError(
                f"{name!r} answers with {names[1:]}, and not with items and scores "
                "alone: ask it by predict."
            )
        return _sessions(self.predict(name, rows, exclude), names[1])

    def predict(self, name, rows, exclude=None):
        """All outputs of the model, for each session of the rows.

        Args:
            name: string. The ensemble.
            rows, exclude: as of `recommend`. `exclude` is left out of outputs of the
                items; an ensemble without one has no such input.

        Returns:
            A dict of NumPy arrays, whose rows are the sessions in the order in which
            the rows first name them: the session column `(sessions,)` with raw ids;
            and by the names of the model's outputs

            - of a next-item output the raw ids of its column, `(sessions, k)`, and
              under `OUTPUT_scores` their scores, best first. Places without an id have
              the score minus infinity, and hold `None` for text, -1 for integers. (A
              model of one output, of the items, has the item column and `"scores"`.)
            - of any other the values, float32 `(sessions, …)`; those of events as a
              list of arrays `(events, …)`, one a session, of its newest events in the
              order of time.

        Raises:
            ConnectionError, ValueError, TypeError, RuntimeError: as of `recommend`.

        Example:

        ```python
        client.predict("t4rec", rows)
        # {"session_id": array([7]), "next_item": array([[2147, …]]),
        #  "next_item_scores": array([[9.1, …]]), "bought": array([[0.07]])}
        ```
        """
        inputs = self._inputs(name, rows, exclude)
        with self._errors():
            # Over HTTP the connection's own limit holds.
            grpc = self.protocol == "grpc"
            options = {"client_timeout": self.timeout} if grpc else {}
            answer = self._client.infer(name, inputs, **options)
        return _answers(answer, self._outputs(name))

    def close(self):
        """Closes the connection."""
        self._client.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _columns(self, name):
        return self._described(name)["inputs"]

    def _outputs(self, name):
        return self._described(name)["outputs"]

    def _described(self, name):
        if name not in self._models:
            with self._errors():
                self._models[name] = self._metadata(name)
        return self._models[name]

    def _metadata(self, name):
        if self.protocol == "http":
            return self._client.get_model_metadata(name)
        return self._client.get_model_metadata(name, as_json=True)

    def _inputs(self, name, rows, exclude):
        """The request's tensors: a value of another type is not sent."""
        columns = {x["name"]: x for x in self._columns(name)}
        # A raw column has one value a row; this has as many ids as there are.
        of_ids = int(columns.get(EXCLUDE, {"shape": [-1, 1]})["shape"][1]) == -1
        takes = columns.pop(EXCLUDE) if of_ids else None
        kinds = {n: _KINDS[column["datatype"]] for n, column in columns.items()}
        arrays = {n: x[:, None] for n, x in _arrays(rows, kinds).items()}
        if exclude is not None:
            if takes is None:
                raise ValueError(
                    f"{name!r} takes no `exclude`, for it has no output of the items: "
                    "leave exclude out."
                )
            session = self._outputs(name)[0]["name"].removeprefix(RESULT)
            sessions = len(set(arrays[session][:, 0].tolist()))
            excluded = _excluded(exclude, _KINDS[takes["datatype"]], sessions)
            if excluded.size:
                arrays[EXCLUDE] = excluded
        inputs = []
        for column, values in arrays.items():
            datatype = _DATATYPES[values.dtype.name]
            tensor = self._triton.InferInput(column, list(values.shape), datatype)
            inputs.append(tensor.set_data_from_numpy(values))
        return inputs

    @contextlib.contextmanager
    def _errors(self):
        from tritonclient.utils import InferenceServerException

        try:
            yield
        except (OSError, InferenceServerException) as error:
            status = getattr(error, "status", lambda: None)()
            if isinstance(error, OSError) or status == "StatusCode.UNAVAILABLE":
                raise ConnectionError(
                    f"No Triton server answers over {self.protocol} at {self.url}: is "
                    "it running, and is this its address?"
                ) from error
            text = f"Triton at {self.url} says: {error.message()}"
            raise RuntimeError(text) from error


def _import(protocol):
    try:
        if protocol == "http":
            import tritonclient.http as triton
        else:
            import tritonclient.grpc as triton
    except ImportError as error:
        raise ImportError(
            "Asking Triton needs `tritonclient`: `pip install keras_t4r[triton]`."
        ) from error
    return triton


def _excluded(exclude, kind, sessions):
    """Raw ids `(1, n)` for all sessions or `(sessions, n)`, int64 or bytes."""
    lists = excluded_lists(exclude, sessions)
    values = [value for row in lists for value in row]
    nothing = NO_VALUES[kind]
    if kind == "string":
        ids, nothing = np.array([_bytes(value) for value in values], object), b""
    else:
        ids = read_ids(values, "exclude").fill_null(nothing).to_numpy()
    return as_table(ids, lists, nothing, max(map(len, lists)))


def _bytes(value):
    if value is None:
        return b""
    if not isinstance(value, str):
        raise TypeError(f"exclude holds {value!r}; raw ids of these items are texts.")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"exclude holds {value!r}, which is no UTF-8 text.") from error


def _arrays(rows, kinds):
    """Dict of column to array, int64, float64 or bytes, in the order of the rows.

    Args:
        rows: as of `TritonClient.recommend`.
        kinds: dict of column to `"int64"`, `"float64"` or `"string"`.
    """
    table = ClickTable(_read_columns(rows, list(kinds)))
    frame = table.scan(list(kinds), kinds)
    with table.reading(kinds):
        frame = typed(frame, kinds, None, table)
    arrays = {}
    for name, kind in kinds.items():
        # A request has no null.
        values = frame[name].fill_null(NO_VALUES[kind])
        if kind == "string":
            encoded = [text.encode() for text in values]
            arrays[name] = np.array(encoded, dtype=object)
        else:
            arrays[name] = values.to_numpy()
    return arrays


def _read_columns(rows, names):
    """Rows in any form, without the columns that are not read."""
    if isinstance(rows, str | PurePath):
        raise TypeError(
            f"The rows of a request are rows in memory, and not a file such as {rows}."
        )
    if isinstance(rows, list | tuple):
        values = [row_values(row) for row in rows]
        for number, (row, held) in enumerate(zip(rows, values, strict=True), 1):
            has = type(row).__name__ if held is None else sorted(map(str, held))
            for name in names:
                if held is None or name not in held:
                    raise ValueError(f"Row {number} has no {name!r}; it has {has}.")
        return {name: [row[name] for row in values] for name in names}
    columns = table_columns(rows, "rows")
    if columns is None:
        raise TypeError(
            "The rows of a request are a list of dicts or named tuples, a dict of "
            f"columns, or a frame; this is a {type(rows).__name__}."
        )
    for name in names:
        if name not in columns:
            raise ValueError(
                f"The rows have no column {name!r}; they have {list(columns)}."
            )
    return {name: columns[name] for name in names}


def _ids_and_scores(outputs):
    """Names of ids → names of their scores, of an ensemble's outputs."""
    # The session comes first; other outputs that are no float32 are raw ids.
    names = [output["name"] for output in outputs]
    ids = [x["name"] for x in outputs[1:] if x["datatype"] in ("INT64", "BYTES")]
    own = {name: f"{name}_scores" for name in ids}
    return {n: s if s in names else RESULT + SCORES for n, s in own.items()}


def _answers(answer, outputs):
    """Dict of output name to array, or for values of events to a list of arrays."""
    arrays = {output["name"]: answer.as_numpy(output["name"]) for output in outputs}
    events = arrays.pop(RESULT + EVENTS) if _has_events(outputs) else None
    ranked = _ids_and_scores(outputs)
    found = {}
    for number, output in enumerate(outputs):
        name = output["name"]
        if name not in arrays:
            continue
        values = arrays[name]
        text = values.dtype == object
        if text:
            values = _decoded(values)
        if number == 0:
            values = values[:, 0]
        elif name in ranked and text:
            values = np.where(np.isfinite(arrays[ranked[name]]), values, None)
        elif _is_of_events(output):
            pairs = zip(values, events, strict=True)
            values = [of_session[:count] for of_session, count in pairs]
        found[name.removeprefix(RESULT)] = values
    return found


def _decoded(values):
    """Bytes as text, of any length and with whatever they end in."""
    text = np.empty(values.size, object)
    text[:] = [v.decode() if isinstance(v, bytes) else v for v in values.flat]
    return text.reshape(values.shape)


def _has_events(outputs):
    return any(_is_of_events(output) for output in outputs)


def _is_of_events(output):
    """Whether an output has a value an event: its second axis is free."""
    shape = [int(size) for size in output["shape"]]
    return output["datatype"] == "FP32" and len(shape) > 1 and shape[1] == -1


def _sessions(columns, items):
    """A dict a session; places without an item hold `None`."""
    columns = {name: values.tolist() for name, values in columns.items()}
    columns[items] = [
        [None if s == -math.inf else i for i, s in zip(*pair, strict=True)]
        for pair in zip(columns[items], columns[SCORES], strict=True)
    ]
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]
