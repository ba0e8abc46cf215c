"""The snippets of a page of the docs run, one after the other."""

import os
import re
from pathlib import Path

import keras
import pytest

DOCS = Path(__file__).parent.parent / "docs"

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="pages are for the default"
)


@pytest.mark.parametrize("page", ["features.md"])
def test_the_snippets_of_a_page_run(page, tmp_path):
    text = (DOCS / page).read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(snippets) > 5
    names, home = {}, Path.cwd()
    os.chdir(tmp_path)
    try:
        for snippet in snippets:
            exec(compile(snippet, page, "exec"), names)
            features = names.get("features")
            if features is not None and not features.built:
                features(names["schema"].inputs())
    finally:
        os.chdir(home)
    (x,) = names["loader"][0]
    assert x["image"].shape == (2, 4, 32)
