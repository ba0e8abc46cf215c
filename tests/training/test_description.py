"""Descriptions are equal for what was made in the same way, and for nothing else."""

import keras
import numpy as np
import pytest
from transformers import XLNetConfig

import keras_t4r as t4r
from keras_t4r.training.description import (
    described,
    described_by_attributes,
    first_difference,
)

SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, 13),
            value_count=(1, 6),
        ),
    )
)


def make_model(width=8, own=None):
    inputs = SCHEMA.inputs()
    items = inputs["item_id"]
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=8, dropout=0.1)(
        inputs
    )
    x, targets = t4r.CausalLanguageModeling()(x, items)
    body = XLNetConfig(d_model=8, n_layer=1, n_head=2, d_inner=width)
    x = t4r.TransformerBlock(body, causal=True)(x)
    x = keras.layers.Dropout(0.1)(keras.layers.Dense(8)(x) + keras.layers.Dense(8)(x))
    last = keras.layers.Lambda(lambda x: x)
    last.supports_masking = True
    x = last(x)
    if own is not None:
        x = own(x)
    scores = t4r.CopyMechanism()(t4r.NextItemHead()(x, targets, table), items)
    return t4r.SessionModel(inputs, t4r.TransitionMemory(SCHEMA)(scores, items))


class Own(keras.layers.Layer):
    """What a user wrote, and how Keras could save it they did not say."""

    def __init__(self, thing):
        super().__init__()
        self.thing, self.supports_masking = thing, True

    def call(self, x):
        return x


class Other(Own):
    pass


def test_a_model_is_the_same_however_many_were_made_before():
    one = described(make_model())
    assert described(make_model()) == one
    path, was, now = first_difference(one, described(make_model(width=16)))
    assert path.endswith("d_inner") and (was, now) == ("8", "16")


def test_what_cannot_be_serialised_is_told_by_its_class():
    one = described(make_model(own=Own(object())))
    assert described(make_model(own=Own(object()))) == one
    for other in (make_model(own=Other(object())), make_model(16, Own(object()))):
        assert first_difference(one, described(other)) is not None
    assert described(object()) == described(object())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": [1, 2]}, {"a": [1, 3]}),
        (np.arange(3), np.arange(3) + 1),
        (list(range(2000)), list(range(1, 2001))),
        ({1, 2}, {1, 3}),
        (b"a", b"b"),
        (float("nan"), 1.0),
        (keras.losses.Dice(), keras.losses.Dice(axis=1)),
        (keras.optimizers.Adam(), keras.optimizers.AdamW()),
        (np.argmax, np.argmin),
    ],
)
def test_values_are_told_apart(one, other):
    assert first_difference(described(one), described(one)) is None
    assert first_difference(described(one), described(other)) is not None


def test_the_class_and_public_attributes_of_an_object_are_described():
    class Baseline:
        def __init__(self, k):
            self.k, self._counts = k, object()

    one = described_by_attributes(Baseline(np.int64(3)))
    assert one == described_by_attributes(Baseline(3))
    assert first_difference(one, described_by_attributes(Baseline(4))) == (
        "k",
        "3",
        "4",
    )


def test_long_values_are_cut_to_where_they_differ():
    one, other = "a" * 500 + "b" + "c" * 500, "a" * 500 + "d"
    (path, was, now) = first_difference({"x y": one}, {"x y": other})
    assert path == "['x y']"
    assert len(was) < 110 and was.startswith("…a") and "ab" in was
    assert now.startswith("…a") and now.endswith("d'")
