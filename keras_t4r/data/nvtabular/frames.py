"""Between the engine's own frames and NVTabular's datasets."""

import warnings
from contextlib import contextmanager

import numpy as np
import polars as pl
import pyarrow as pa

from keras_t4r.data.clicks.prepared import TIME
from keras_t4r.data.etl.config import LENGTH, START, WINDOW

# Stands for null in id columns: NVTabular's Categorify fails on columns of nothing
# else, and integers with nulls would become floats in pandas. It is in no
# vocabulary, so it is encoded as unknown.
NULL_TEXT, NULL_INTEGER = "\0null", np.iinfo(np.int64).min


def import_nvtabular():
    """The nvtabular package, or a sentence that says how to get it."""
    try:
        with quiet():
            import nvtabular
    except ImportError as error:
        raise ImportError(
            "NVTabularWorkflow needs nvtabular: install keras_t4r[nvtabular] on "
            "Python 3.10 or 3.11, or use SessionETL, which makes the same sessions."
        ) from error
    return nvtabular


@contextmanager
def quiet():
    """NVTabular and its dependencies warn about themselves; that is not news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def to_pandas(clicks, config):
    """Prepared clicks as a pandas frame, nulls of ids marked.

    Args:
        clicks: polars `DataFrame`. Prepared clicks.
        config: `ETLConfig`.
    """
    fills = []
    for name in config.ids:
        text = clicks[name].dtype == pl.String
        fills.append(pl.col(name).fill_null(NULL_TEXT if text else NULL_INTEGER))
    return clicks.with_columns(fills).to_pandas()


def to_dataset(frame):
    """A pandas or dask frame as a `merlin.io.Dataset`, on the GPU if there is one."""
    from merlin.core.compat import HAS_GPU
    from merlin.io import Dataset

    return Dataset(frame, cpu=None if HAS_GPU else True)


def without_nulls(values):
    """Drops the stand-ins for null from a polars frame with a column `value`."""
    null = NULL_TEXT if values["value"].dtype == pl.String else NULL_INTEGER
    return values.filter(pl.col("value") != null)


def to_sessions(frame, config, kinds):
    """What the workflow makes, as the table that `SessionETL` makes.

    Args:
        frame: pandas or cudf `DataFrame`. One row a session.
        config: `ETLConfig`.
        kinds: dict. `"int64"` or `"string"`, of the session id among others.
    """
    if hasattr(frame, "to_pandas"):
        frame = frame.to_pandas()
    lengths = np.minimum(frame[LENGTH].to_numpy(), config.max_length)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    keys = pa.array(frame[config.session], getattr(pa, kinds[config.session])())
    columns = {config.session: keys}
    ids, numbers = pa.int32(), pa.float32()

    def lists(name, values):
        flat = [value for row in frame[name] for value in row]
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(flat, values))

    def scalars(name, values):
        columns[name] = pa.array(frame[name].to_numpy(), values)

    for name in (config.item, *config.categorical):
        lists(name, ids)
    for name in (*config.continuous, *config.derived):
        lists(name, numbers)
    for name in config.context_categorical:
        scalars(name, ids)
    for name in config.context_continuous:
        scalars(name, numbers)
    scalars(WINDOW, pa.int32())
    scalars(LENGTH, pa.int32())
    columns[START] = pa.array(frame[TIME].to_numpy()).cast(pa.timestamp("us"))
    return pa.table(columns)
