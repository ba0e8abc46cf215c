"""Rows in, rows out, over a Triton server's HTTP or gRPC."""

import contextlib
import math

import numpy as np

from keras_t4r.serving.saved_model import SCORES
from keras_t4r.serving.tensorflow_ensemble import RESULT

_FITS = {
    "INT64": lambda v: isinstance(v, int | np.integer) and -(2**63) <= v < 2**63,
    "FP64": lambda v: isinstance(v, int | float | np.integer | np.floating),
    "BYTES": lambda v: isinstance(v, str | bytes),
}
# What stands for "no value" in a request.
_MISSING = {"INT64": np.iinfo("int64").min, "FP64": float("nan"), "BYTES": ""}


class TritonClient:
    """Asks an ensemble of `export_tensorflow_ensemble` for recommendations.

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

    def recommend(self, name, rows):
        """Recommends for each session of the rows.

        Args:
            name: string. The ensemble.
            rows: list of dicts, dict of columns, or a frame (polars, pandas,
                pyarrow). Raw interaction rows; columns that the ensemble does not
                read are left aside, and `None` means "no value".

        Returns:
            A list of dicts, one a session, in the order in which the rows first
            name them: the session column with the raw id, the item column with the
            list of the best items' raw ids, `"scores"` with the list of their scores.
            Where fewer items are left than were asked for, the last ones are `None`,
            with score minus infinity.

        Raises:
            ConnectionError: no server answers at the address.
            ValueError: a column is missing, or has values of another type.
            RuntimeError: the server's own error.
        """
        inputs = [
            self._input(column, _column(rows, column["name"]))
            for column in self._columns(name)
        ]
        with self._errors():
            # Over HTTP the connection's own limit holds.
            grpc = self.protocol == "grpc"
            options = {"client_timeout": self.timeout} if grpc else {}
            answer = self._client.infer(name, inputs, **options)
        return _sessions(answer, self._models[name]["outputs"])

    def close(self):
        """Closes the connection."""
        self._client.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _columns(self, name):
        if name not in self._models:
            with self._errors():
                self._models[name] = self._metadata(name)
        return self._models[name]["inputs"]

    def _metadata(self, name):
        if self.protocol == "http":
            return self._client.get_model_metadata(name)
        return self._client.get_model_metadata(name, as_json=True)

    def _input(self, column, values):
        tensor = self._triton.InferInput(
            column["name"], [len(values), 1], column["datatype"]
        )
        tensor.set_data_from_numpy(_array(column, values)[:, None])
        return tensor

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


def _column(rows, name):
    """One column of whatever holds rows, as a list."""
    if isinstance(rows, list | tuple):
        for number, row in enumerate(rows, 1):
            if name not in row:
                raise ValueError(f"Row {number} has no {name!r}; it has {sorted(row)}.")
        return [row[name] for row in rows]
    # pyarrow says `column_names`, polars and pandas `columns`, a dict its keys.
    names = getattr(rows, "column_names", getattr(rows, "columns", rows))
    names = list(names)
    if name not in names:
        raise ValueError(f"The rows have no column {name!r}; they have {names}.")
    column = rows[name]
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return getattr(column, method)()
    return list(column)


def _array(column, values):
    kind, name = column["datatype"], column["name"]
    # pandas writes NaN for "no value" in columns of any type.
    missing = _MISSING[kind]
    values = [missing if v is None or v != v else v for v in values]
    for number, value in enumerate(values, 1):
        if not _FITS[kind](value):
            wanted = {"INT64": "an integer", "FP64": "a number", "BYTES": "text"}[kind]
            raise ValueError(
                f"Row {number} has {value!r} in column {name!r}, which needs {wanted}."
            )
    if kind == "BYTES":
        encoded = [v if isinstance(v, bytes) else v.encode() for v in values]
        return np.array(encoded, dtype=object)
    return np.array(values, dtype="int64" if kind == "INT64" else "float64")


def _sessions(answer, outputs):
    columns = {}
    for number, output in enumerate(outputs):
        values = answer.as_numpy(output["name"])
        if values.dtype == object:
            values = np.char.decode(values.astype("S"), "utf-8")
        # The session comes first, a single value; lists come after it.
        values = values[:, 0] if number == 0 else values
        columns[output["name"].removeprefix(RESULT)] = values.tolist()
    if SCORES in columns:
        # The items come right before their scores.
        items = list(columns)[list(columns).index(SCORES) - 1]
        columns[items] = [
            [None if s == -math.inf else i for i, s in zip(*pair, strict=True)]
            for pair in zip(columns[items], columns[SCORES], strict=True)
        ]
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]
