"""What the page on context says runs as it stands."""

import re
from pathlib import Path

import keras
import pytest

import keras_t4r as t4r

DOCS = Path(__file__).parents[1] / "docs" / "context.md"

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the page is one for all"
)


def ids(name, high, *tags, **more):
    domain = t4r.Domain(2, high, name)
    return t4r.ColumnSchema(name, "int64", (*tags, "categorical"), domain, **more)


SCHEMA = t4r.Schema(
    (
        ids("item_id", 30, "item_id", value_count=(1, 20)),
        ids("country", 5),
        ids("device", 4),
        t4r.ColumnSchema("age", "float32", ("continuous",)),
    )
)


def test_the_pages_code_runs_and_its_shapes_are_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = DOCS.read_text(encoding="utf-8")
    names = {
        "schema": SCHEMA,
        "encode": lambda texts: [[float(len(text))] for text in texts],
    }
    said = 0
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, str(DOCS), "exec"), names)
        for name, shape in re.findall(r"(?m)^(\w+) .*# \(batch, ([\d, ]+)\)$", code):
            assert names[name].shape[1:] == tuple(map(int, shape.split(","))), name
            said += 1
    assert said == 5
    assert (tmp_path / "titles.parquet").exists()
    assert names["context"].shape == (None, 17 + 16)
