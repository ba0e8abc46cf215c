"""A body of one's own is a config and a class: all else finds it by its type."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_t4r as t4r
from keras_t4r.bodies import BODIES, Body, GRUConfig
from keras_t4r.bodies.body_config import BodyConfig


@dataclasses.dataclass
class AverageConfig(BodyConfig):
    model_type = "average"

    hidden_size: int = 16
    num_attention_heads: int = 1
    num_hidden_layers: int = 1


@keras.saving.register_keras_serializable(package="tests")
class Average(Body):
    """The mean of the events that a position sees, through a dense layer."""

    model_type = "average"

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        self.dense = keras.layers.Dense(self.d_model, dtype=self.dtype_policy)

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        return {"hidden_size": d_model, "num_hidden_layers": n_layer}

    def config_is_causal(self):
        return True

    def build_parts(self, shape):
        self.dense.build(shape)

    def encode(self, x, visible, training):
        seen = keras.ops.cast(visible, x.dtype)
        count = keras.ops.sum(seen, axis=-1, keepdims=True)
        return self.dense(keras.ops.matmul(seen, x) / keras.ops.maximum(count, 1))


@pytest.fixture(autouse=True)
def own_body():
    BODIES["average"] = Average
    yield
    del BODIES["average"]


# What making the class entered: each test has it anew, other files have it not.
del BODIES["average"]


@pytest.mark.backends
def test_a_body_of_ones_own_trains_answers_and_comes_back_from_its_file(tmp_path):
    column = t4r.ColumnSchema(
        "item_id", tags=("item_id",), domain=t4r.Domain(2, 20), value_count=(1, 5)
    )
    schema = t4r.Schema((column,))
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=16)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    x = t4r.TransformerBlock(t4r.session_config("average", 16))(x)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile("adam")
    sessions = {"item_id": np.array([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0]], "int32")}
    losses = model.fit(sessions, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "own.keras")
    again = keras.models.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(
        again.predict(sessions, verbose=0), model.predict(sessions, verbose=0)
    )


def test_a_type_that_is_taken_is_refused():
    with pytest.raises(ValueError, match=r"'bert' is that of keras_t4r.*Bert: give"):
        type("Mine", (Body,), {"model_type": "bert"})


def test_a_class_that_is_made_anew_takes_its_own_place():
    again = type("Average", (Body,), {"model_type": "average", **_origin()})
    assert BODIES["average"] is again


def test_a_config_without_a_type_of_its_own_takes_nobodys_place():
    class Wide(GRUConfig):
        hidden_size = 128

    assert BodyConfig.of_type("gru") is GRUConfig
    assert t4r.session_config("gru", 16).hidden_size == 16


def _origin():
    return {"__module__": Average.__module__, "__qualname__": Average.__qualname__}
