"""The table of bodies and schemes in the docs says what is so."""

import re
from pathlib import Path

import keras
import pytest

import keras_t4r as t4r
from keras_t4r.bodies import BODIES

DOCS = Path(t4r.__file__).parents[1] / "docs" / "bodies.md"
DIRECTIONS = {"✓": None, "c": True, "b": False}


def read_table():
    """`(body, scheme, mark)` of each cell."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| body | what"))
    schemes = [cell.strip() for cell in lines[start].strip("|").split("|")][2:]
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        bodies, _, *marks = line.strip("|").split("|")
        for body in re.findall(r"`([^`]+)`", bodies):
            for scheme, mark in zip(schemes, marks, strict=True):
                yield body, scheme, mark.strip()[0]


TABLE = list(read_table())


def build(body, scheme, causal):
    schema = t4r.Schema(
        [
            t4r.ColumnSchema(
                "item_id",
                tags=("item_id", "categorical"),
                domain=t4r.Domain(2, 31),
                value_count=(1, 6),
            )
        ]
    )
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=16)
    inputs = schema.inputs()
    items, (x, table), more = inputs["item_id"], features(inputs), {}
    if scheme == "CLM":
        x, targets = t4r.CausalLanguageModeling()(x, items)
    elif scheme == "PLM":
        x, targets, more["visible"] = t4r.PermutationLanguageModeling()(x, items)
    else:
        x, targets = t4r.MaskedLanguageModeling()(x, items)
    # So short that Reformer's hashed chunk holds all of it.
    config = t4r.session_config(body, 16, n_head=2, n_layer=1, max_length=6)
    block = t4r.TransformerBlock(config, causal=causal)
    if scheme != "RTD":
        scores = t4r.NextItemHead()(block(x, **more), targets, table)
        return t4r.SessionModel(inputs, scores)
    scores, replaced = t4r.GeneratorHead()(block(x), targets, table, items)
    read, _ = features({"item_id": replaced})
    scores = t4r.ReplacedTokenDetection()(scores, block(read), replaced, items)
    return t4r.SessionModel(inputs, scores)


def test_every_body_stands_in_the_table_once():
    assert sorted(body for body, scheme, _ in TABLE if scheme == "CLM") == sorted(
        BODIES
    )


@pytest.mark.parametrize(("body", "scheme", "mark"), TABLE)
def test_what_goes_together_is_built_and_what_does_not_is_refused(body, scheme, mark):
    if mark == "–":  # noqa: RUF001
        for causal in (None, True, False):
            with pytest.raises(ValueError):
                build(body, scheme, causal)
        return
    model = build(body, scheme, DIRECTIONS[mark])
    assert isinstance(model, keras.Model)
    if mark in "cb":
        with pytest.raises(ValueError, match=r"causal=(True|False)"):
            build(body, scheme, None)
