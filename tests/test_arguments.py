"""Truth values are True and False wherever one is asked for."""

import inspect

import keras
import numpy as np
import pytest

import keras_t4r as t4r
from keras_t4r.arguments import truth
from keras_t4r.bodies.sasrec import SASRec
from keras_t4r.losses import samplers
from keras_t4r.training import baselines

ITEM = t4r.ColumnSchema(
    "item_id", tags=("item_id",), domain=t4r.Domain(2, 9), value_count=(1, 8)
)
SCHEMA = t4r.Schema((ITEM,))
SESSIONS = {"item_id": [[3, 4], [5]]}
CONFIG = t4r.session_config("sasrec", d_model=8, n_head=1)
ETL = ("session", "time", "item")
VECTORS = np.ones((8, 2), "float32")


def etl_write(**how):
    t4r.SessionETL(*ETL).write({}, "nowhere", **how)


# What has the argument → it as a function of keywords, which needs nothing more.
TAKERS = {
    t4r.KerasSequenceLoader: lambda **how: t4r.KerasSequenceLoader(
        SESSIONS, SCHEMA, 2, **how
    ),
    t4r.SessionETL: lambda **how: t4r.SessionETL(*ETL, **how),
    t4r.SessionETL.write: etl_write,
    t4r.NVTabularWorkflow: lambda **how: t4r.NVTabularWorkflow(*ETL, **how),
    t4r.SequenceEmbeddingFeatures: lambda **how: t4r.SequenceEmbeddingFeatures(
        SCHEMA, **how
    ),
    t4r.GivenVectors: t4r.GivenVectors,
    t4r.PretrainedEmbedding: lambda **how: t4r.PretrainedEmbedding(VECTORS, **how),
    t4r.HashedEmbedding: lambda **how: t4r.HashedEmbedding(9, 4, **how),
    t4r.SoftEmbedding: t4r.SoftEmbedding,
    t4r.TimeGap: t4r.TimeGap,
    t4r.DotInteraction: t4r.DotInteraction,
    t4r.CGC: lambda **how: t4r.CGC(2, 1, 1, units=4, **how),
    t4r.NextItemHead: t4r.NextItemHead,
    t4r.TaskTower: lambda **how: t4r.TaskTower(units=4, **how),
    t4r.TransitionMemory: lambda **how: t4r.TransitionMemory(SCHEMA, **how),
    t4r.CausalLanguageModeling: t4r.CausalLanguageModeling,
    t4r.PermutationLanguageModeling: t4r.PermutationLanguageModeling,
    t4r.TransformerBlock: lambda **how: t4r.TransformerBlock(CONFIG, **how),
    t4r.losses.SampledSoftmax: t4r.losses.SampledSoftmax,
    samplers.InBatchSampler: samplers.InBatchSampler,
    samplers.UniformSampler: lambda **how: samplers.UniformSampler(4, **how),
    samplers.LogUniformSampler: lambda **how: samplers.LogUniformSampler(4, **how),
    samplers.PopularitySampler: lambda **how: samplers.PopularitySampler(
        np.ones(9), **how
    ),
    t4r.retrieval.ExactIndex.save: lambda **how: (
        t4r.retrieval.ExactIndex().build(np.arange(1, 9), VECTORS).save("a", **how)
    ),
    t4r.export_saved_model: lambda **how: t4r.export_saved_model(None, "a", **how),
    t4r.export_tensorflow_ensemble: lambda **how: t4r.export_tensorflow_ensemble(
        None, None, "a", "b", **how
    ),
    t4r.fit_windows: lambda **how: t4r.fit_windows(None, "nowhere", **how),
    baselines.Markov: lambda **how: baselines.Markov(SCHEMA, **how),
    SASRec: lambda **how: SASRec(CONFIG, **how),
    baselines.Baseline: lambda **how: baselines.Baseline(SCHEMA, **how),
}
# Where `None` stands for a default that other arguments decide.
MAY_BE_NONE = {
    t4r.KerasSequenceLoader: ["shuffle"],
    t4r.TransformerBlock: ["causal"],
    t4r.losses.SampledSoftmax: ["log_q"],
    samplers.InBatchSampler: ["corrected"],
    baselines.Baseline: ["repeat_last"],
    SASRec: ["causal"],
}
WRONG = ["False", "no", "", 2, 0, 1, 1.0, float("nan"), [], [True], np.array([True])]


def arguments_of(taker):
    signature = inspect.signature(taker)
    asked = signature.parameters.values()
    found = [p.name for p in asked if isinstance(p.default, bool)]
    return found + MAY_BE_NONE.get(taker, [])


CASES = [(taker, name) for taker in TAKERS for name in arguments_of(taker)]


@pytest.fixture(autouse=True)
def fresh_session():
    """Nothing here needs one of its own."""


@pytest.mark.parametrize(
    ("taker", "name"), CASES, ids=[f"{t.__qualname__}-{n}" for t, n in CASES]
)
def test_what_only_counts_as_true_or_false_is_refused(taker, name):
    wrong = WRONG if name in MAY_BE_NONE.get(taker, []) else [*WRONG, None]
    for value in wrong:
        with pytest.raises(TypeError, match=f"^{name} is .* be True or False"):
            TAKERS[taker](**{name: value})


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_truth_values_are_pythons(value):
    assert truth("it", value) is bool(value)
    assert t4r.NextItemHead(bias=value).get_config()["bias"] is bool(value)


def test_no_argument_of_a_public_name_was_forgotten():
    rooms = (t4r, t4r.losses, t4r.metrics, t4r.optimizers, t4r.retrieval)
    rooms += (samplers, baselines)
    public = [thing for room in rooms for thing in vars(room).values()]
    asked = {
        thing
        for thing in public
        if inspect.isclass(thing) or inspect.isfunction(thing)
        if thing.__module__.startswith("keras_t4r") and arguments_of(thing)
    }
    # What a class inherits is told by the class that has it.
    asked -= {t for t in asked if inspect.isclass(t) and "__init__" not in vars(t)}
    assert asked - set(TAKERS) == set()


def test_a_layer_of_ones_own_is_causal_or_not():
    for value in ("False", 2):
        with pytest.raises(TypeError, match=r"^causal is .* True or False"):
            t4r.TransformerBlock(keras.layers.Dense(4), causal=value)


@pytest.mark.parametrize("value", ["schema.pbtxt", 5, [ITEM]])
def test_what_is_no_schema_is_told_so(value):
    for taker in (
        lambda: t4r.KerasSequenceLoader(SESSIONS, value, 2),
        lambda: t4r.SequenceEmbeddingFeatures(value),
        lambda: t4r.ContextFeatures(value),
        lambda: t4r.vectors_by_id({}, value, "item_id"),
        lambda: t4r.TransitionMemory(value),
        lambda: baselines.Markov(value),
    ):
        with pytest.raises(TypeError, match=r"^schema is .* should be a Schema"):
            taker()
