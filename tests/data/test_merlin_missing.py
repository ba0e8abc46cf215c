"""Where Merlin is not installed, what needs it says how to get it."""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.data.nvtabular.workflow import NVTabularWorkflow
from keras_t4r.schema import ColumnSchema, Domain, Schema

SENTENCE = r"install keras_t4r\[nvtabular\] on Python 3\.10 or 3\.11"


def test_the_workflow_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvtabular", None)
    with pytest.raises(ImportError, match=SENTENCE):
        NVTabularWorkflow("session", "time", "item")


def test_the_loaders_engine_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "merlin.dataloader.loader_base", None)
    tags, path = ("item_id", "categorical"), tmp_path / "a.parquet"
    pq.write_table(pa.table({"item": [[3, 4]]}), path)
    schema = Schema([ColumnSchema("item", "int64", tags, Domain(2, 9), (1, 5))])
    with pytest.raises(ImportError, match=SENTENCE):
        KerasSequenceLoader(path, schema, 1, engine="merlin")
