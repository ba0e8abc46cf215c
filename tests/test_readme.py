"""The README's script runs as it stands."""

import os
import re
from pathlib import Path

import keras
import pytest

import keras_t4r as t4r
from keras_t4r.serving import triton_files

README = Path(__file__).parent.parent / "README.md"
SERVING = "# The same behind a real Triton."

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the script runs on the default"
)


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Runs all of it but the serving; gives its names, and what is left to run."""
    text = README.read_text(encoding="utf-8")
    code = re.search(r"## In a script\s+```python\n(.*?)```", text, re.DOTALL)[1]
    training, serving = code.split(SERVING)
    folder, home = tmp_path_factory.mktemp("readme"), Path.cwd()
    log = t4r.SyntheticClicks(num_sessions=1200, num_items=150, num_days=2)
    log.write(folder / "log.csv")
    lines = (folder / "log.csv").read_text()
    (folder / "clicks.csv").write_text(",".join(log.columns) + "\n" + lines)
    clicks = [line.split(",") for line in lines.splitlines()[:3]]
    rows = [
        {**dict(zip(log.columns, click, strict=True)), "session_id": 1}
        for click in clicks
    ]
    for row in rows:
        row["item_id"] = int(row["item_id"])
    names = {"rows": rows}
    os.chdir(folder)
    try:
        exec(compile(training, str(README), "exec"), names)
        yield names, serving
    finally:
        os.chdir(home)


def test_the_script_gets_to_answers_in_raw_ids(script):
    names, _ = script
    answer = names["model"].recommend(names["etl"].transform(names["rows"]), k=10)
    items = set(names["etl"].vocabulary("item_id").values.to_list())
    assert answer["item_id"].shape == (1, 10)
    assert set(answer["item_id"][0].tolist()) <= items


def test_the_script_gets_to_a_served_model(script):
    names, serving = script
    pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    try:
        python = triton_files.default_python()
        triton_files.wheel_folder(triton_files.interpreter_facts(python))
    except ImportError as error:
        pytest.skip(str(error))
    # The script's last line leaves its answer lie; here it is kept.
    last = "    t4r.TritonClient"
    assert serving.count(last) == 1
    serving = serving.replace(last, last.replace("t4r", "answer = t4r"))
    exec(compile(serving, str(README), "exec"), names)
    expected = names["model"].recommend(names["etl"].transform(names["rows"]), k=10)
    (row,) = names["answer"]
    assert row["item_id"] == expected["item_id"][0].tolist()
