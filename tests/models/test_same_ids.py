"""Sessions of another vocabulary are refused, also where only its fingerprint is known.

A vocabulary is told from another by its fingerprint, and is the same where one was
extended from the other: that can be seen with the values of the longer one only.
"""

import gc
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import keras_t4r as t4r
from keras_t4r.models.checks.id_checks import check_ids
from keras_t4r.schema.encoded_ids import check_encoded, mark_encoded
from keras_t4r.schema.standardised import same_numbers, standardised_by
from keras_t4r.training.baselines import Popularity

pytestmark = pytest.mark.backends("torch")
SHORT = [f"item-{i}" for i in range(5)]
LONG = [*SHORT, "new", "newer"]
LONGEST = [*LONG, "newest"]
OTHER = SHORT[::-1]
OTHER_LONG = [*OTHER, "new", "newer"]


@pytest.fixture(autouse=True)
def fresh_session():
    """Nothing here is trained."""


def schema_of(values=None):
    size = len(LONG if values is None else values)
    item = t4r.ColumnSchema(
        "item", tags=("item_id",), domain=t4r.Domain(2, size + 1), value_count=(1, 8)
    )
    known = {} if values is None else {"item": t4r.Vocabulary(values)}
    return t4r.Schema((item,), vocabularies=known)


def loader(of_schema, marked=None):
    table = pa.table({"item": [[2, 3, 4], [5, 2]]})
    if marked is not None:
        table = mark_encoded(table, {"item": t4r.Vocabulary(marked)})
    return t4r.KerasSequenceLoader(table, schema_of(of_schema), 2)


def forgotten(layer):
    """The layer as it is in a process that has none of its vocabularies."""
    return type(layer).from_config(layer.get_config())


def memory_of(values):
    memory = forgotten(t4r.TransitionMemory(schema_of(values)))
    gc.collect()
    assert t4r.Vocabulary.living(memory.get_config()["vocabulary"]) is None
    return memory


# The memory's values → of the loader's schema, and of the mark of its sessions.
TAKEN = {
    "the very same": (SHORT, None, SHORT),
    "the schema's are the same": (SHORT, SHORT, None),
    "the schema grew": (SHORT, LONG, SHORT),
    "the schema grew, no mark": (SHORT, LONG, None),
    "all grew, each after the other": (LONG, LONGEST, SHORT),
    "nobody knows": (SHORT, None, None),
}
REFUSED = {
    "another": (SHORT, OTHER, OTHER),
    "another, no mark": (SHORT, OTHER, None),
    "another, no schema": (SHORT, None, OTHER),
    "another that is longer": (SHORT, OTHER_LONG, OTHER_LONG),
    "sessions of a grown one": (SHORT, LONG, LONG),
    "sessions of a grown one, no schema": (SHORT, None, LONG),
}
UNTOLD = {
    "the memory's is longer": (LONG, SHORT, SHORT),
    "the memory's is longer, no mark": (LONG, SHORT, None),
    "the memory's is longer, no schema": (LONG, None, SHORT),
    "another that is shorter": (LONG, OTHER, OTHER),
    "another, of which the schema grew": (LONG, OTHER_LONG, OTHER),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_the_same_are_taken(kind):
    values, own, marked = TAKEN[kind]
    memory = memory_of(values)
    assert memory.adapt(loader(own, marked)) is memory
    assert np.asarray(memory.total).any()


@pytest.mark.parametrize("kind", REFUSED)
def test_others_are_refused(kind):
    values, own, marked = REFUSED[kind]
    memory = memory_of(values)
    with pytest.raises(ValueError, match="encoded by another vocabulary than the"):
        memory.adapt(loader(own, marked))


@pytest.mark.parametrize("kind", UNTOLD)
def test_what_cannot_be_told_is_refused_until_it_can(kind):
    values, own, marked = UNTOLD[kind]
    memory, sessions = memory_of(values), loader(own, marked)
    with pytest.raises(ValueError, match=r"cannot be told: .* with Vocabulary\.load"):
        memory.adapt(sessions)
    held = t4r.Vocabulary(values)
    assert held.fingerprint == memory.get_config()["vocabulary"]
    if "another" in kind:
        with pytest.raises(ValueError, match="encoded by another vocabulary"):
            memory.adapt(sessions)
    else:
        memory.adapt(sessions)


def test_features_and_baselines_ask_by_the_same_rule():
    features = forgotten(t4r.SequenceEmbeddingFeatures(schema_of(SHORT)))
    model = SimpleNamespace(layers=[features])
    gc.collect()
    check_ids(model, loader(LONG, SHORT))
    for own, marked in ((OTHER, None), (OTHER, OTHER), (None, OTHER)):
        with pytest.raises(ValueError, match="encoded by another vocabulary"):
            check_ids(model, loader(own, marked))
    with pytest.raises(ValueError, match="encoded by another vocabulary"):
        Popularity(schema_of(SHORT)).check_ids(loader(OTHER))
    Popularity(schema_of(LONG)).check_ids(loader(SHORT))


def test_numbers_are_the_same_but_for_rounding():
    one = standardised_by(1e6, 0.5)
    for other, same in {
        standardised_by(np.float64(1e6), 0.5): True,
        standardised_by(1e6 + 1e-9, 0.5 - 1e-16): True,
        standardised_by(1e6 + 1e-3, 0.5): False,
        standardised_by(1e6, 0.501): False,
        standardised_by(1e6, 0.5, "0" * 32): False,
        "mean 1..2, deviation 3": False,
        "30-" + "0" * 32: False,
    }.items():
        assert same_numbers(one, other) == same_numbers(other, one) == same
    tiny = standardised_by(-1e-300, 5e-324, "f" * 32)
    assert same_numbers(tiny, standardised_by(-1e-300, 5e-324, "f" * 32))
    assert not same_numbers(tiny, standardised_by(-1e-300, 5e-324, "e" * 32))


def test_what_is_numbers_by_the_schema_of_the_sessions_is_no_ids():
    numbers, ids = standardised_by(1.5, 0.5), t4r.Vocabulary(SHORT)
    unmarked = pa.schema([])
    for given, own in ((ids, numbers), (ids.fingerprint, numbers), (numbers, ids)):
        with pytest.raises(ValueError, match="so they mean other values"):
            check_encoded(unmarked, {"item": given}, "x", own={"item": own}.get)


def test_a_schemas_vocabulary_is_read_once(monkeypatch):
    sessions, asked = loader(LONG), []
    vocabulary = t4r.Schema.vocabulary
    monkeypatch.setattr(
        t4r.Schema,
        "vocabulary",
        lambda self, name: asked.append(name) or vocabulary(self, name),
    )
    for _ in range(3):
        sessions.check_ids({"item": t4r.Vocabulary(SHORT).fingerprint})
    assert asked == ["item"]
