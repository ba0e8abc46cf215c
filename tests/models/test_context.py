"""Models that read a context keep the promises, wherever it goes in."""

import keras
import numpy as np
import pytest
from context_models import (
    CONTEXT,
    ENCODERS,
    ITEMS,
    LENGTH,
    PLACES,
    SCHEMA,
    batch,
    build,
    loader,
    scores_of,
    sessions,
)
from keras import ops
from seeds import set_seed

import keras_t4r as t4r

pytestmark = pytest.mark.backends

# Each place with a body, and each sort of body with a place that changes its input.
CASES = [
    *(("clm-gpt2", place) for place in PLACES),
    *((encoder, "token") for encoder in ENCODERS if encoder != "clm-gpt2"),
    ("mlm-bert", "latent-cross"),
]
# JAX compiles each model anew: it sees one of each sort.
ON_JAX = [("clm-gpt2", "latent-cross"), ("mlm-bert", "token")]


def cases():
    for case in CASES:
        marks = () if case in ON_JAX else pytest.mark.backends("torch")
        yield pytest.param(case, id="-".join(case), marks=marks)


@pytest.fixture(scope="module", params=cases())
def model(request):
    set_seed(3)
    return build(*request.param)


def finite(scores):
    return scores[:, 2:]


@pytest.mark.backends("torch")
def test_the_context_changes_the_answer_and_id_0_of_it_says_nothing(model):
    x = batch()
    y = finite(scores_of(model, x))
    for name, other in (("country", 4), ("age", 3.0)):
        moved = finite(scores_of(model, {**x, name: np.full_like(x[name], other)}))
        rows = x[name] != other
        assert (np.abs(moved - y)[rows].max(1) > 1e-4).all(), name


@pytest.mark.backends("torch")
def test_every_item_of_the_history_can_change_the_answer(model):
    x = batch(shortest=LENGTH)
    x = {k: v[:, : LENGTH - 1] if v.ndim > 1 else v for k, v in x.items()}
    y = finite(scores_of(model, x))
    for t in range(LENGTH - 1):
        items = x["item_id"].copy()
        items[:, t] = (items[:, t] - 2 + 9) % ITEMS + 2
        moved = finite(scores_of(model, {**x, "item_id": items}))
        assert (np.abs(moved - y).max(1) > 1e-5).all(), t


def test_padding_is_nothing(model):
    x = batch()
    y = scores_of(model, x)
    grown = {k: np.pad(v, [(0, 2), (0, 3)][: v.ndim]) for k, v in x.items()}
    np.testing.assert_allclose(
        finite(scores_of(model, grown)[:6]), finite(y), atol=1e-4
    )


@pytest.mark.backends("torch")
def test_a_later_event_changes_no_earlier_one():
    for place in PLACES:
        set_seed(3)
        model = build("clm-gpt2", place)
        (head,) = model.heads.values()
        (node,) = head._inbound_nodes
        hidden = keras.Model(model.inputs, node.input_tensors[0])
        x = batch(shortest=LENGTH)
        other = {k: v.copy() for k, v in x.items()}
        other["item_id"][:, 3:] = (other["item_id"][:, 3:] + 5) % ITEMS + 2
        other["price"][:, 3:] += 1

        def run(x, hidden=hidden):
            given = [ops.convert_to_tensor(x[t.name]) for t in hidden.inputs]
            return ops.convert_to_numpy(hidden(given, training=False))

        one, two = run(x), run(other)
        np.testing.assert_allclose(two[:, :3], one[:, :3], atol=1e-6, err_msg=place)
        assert (np.abs(two - one)[:, 3:].max(-1) > 1e-5).all(), place


def test_it_trains_evaluates_as_it_serves_and_comes_back(model, tmp_path):
    set_seed(1)
    losses = model.fit(loader(sessions(96)), epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    table = sessions(24, seed=1)
    logs = model.evaluate(loader(table, target="last"), verbose=0, return_dict=True)
    prefix = {
        name: [row[:-1] for row in table[name].to_pylist()]
        if SCHEMA[name].is_list
        else table[name].to_pylist()
        for name in ("item_id", "price", *CONTEXT)
    }
    answer = model.recommend(prefix, k=5, encoded=True)
    last = np.array([row[-1] for row in table["item_id"].to_pylist()])
    hit = answer["item_id"] == last[:, None]
    ndcg = (hit / np.log2(2 + np.arange(5))).sum(1).mean()
    assert logs["ndcg_5"] == pytest.approx(ndcg, abs=1e-6)

    x = batch(4)
    expected = scores_of(model, x)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_allclose(scores_of(other, x), expected, atol=1e-5)
        assert other.schema.names == model.schema.names


@pytest.mark.backends("torch")
@pytest.mark.parametrize("place", ["latent-cross", "token"])
def test_a_context_that_tells_the_target_is_learned(place):
    set_seed(1)
    model = build("clm-gpt2", place)
    table = sessions(192, learnable=True)
    model.fit(loader(table, 48), epochs=12, verbose=0)
    test = loader(sessions(48, seed=2, shortest=2, learnable=True), target="last")
    logs = model.evaluate(test, verbose=0, return_dict=True)
    assert logs["ndcg_5"] > 0.9


@pytest.mark.backends("torch")
def test_values_of_events_stand_at_their_events():
    model = build("mlm-bert", "token", outputs="liked")
    # As many events as it reads.
    x = {k: v[:, : LENGTH - 1] if v.ndim > 1 else v for k, v in batch().items()}
    real = x["item_id"] != 0
    liked = ops.convert_to_numpy(model.answers(x, k=3)["liked"])[..., 0]
    assert liked.shape == real.shape
    np.testing.assert_array_equal(liked != 0, real)


@pytest.mark.backends("torch")
def test_the_schema_of_a_model_has_the_columns_of_its_context():
    model = build()
    assert model.schema.names == ["item_id", "price", "age", "country"]
    assert model.features.schema.names == ["item_id", "price"]
    with pytest.raises(ValueError, match="no column 'city'"):
        model.vocabulary("city")


@pytest.mark.backends("torch")
def test_raw_values_of_the_context_are_encoded_by_its_vocabulary():
    words = t4r.Vocabulary(["fr", "it", "jp"], first_id=2, name="country")
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA.without(CONTEXT), 8)(inputs)
    read = t4r.ContextFeatures(SCHEMA, vocabularies={"country": words})
    x = t4r.ContextFusion()(x, read(inputs))
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    assert model.vocabulary("country") == words
    assert model.vocabulary("item_id") is None
    asked = {"item_id": [[5, 6]], "price": [[0.1, 0.2]], "age": [1.0]}
    raw = model.recommend({**asked, "country": ["it"]}, k=4)
    ids = model.recommend({**asked, "country": [3]}, k=4, encoded=True)
    np.testing.assert_allclose(raw["scores"], ids["scores"], atol=1e-6)
    other = model.recommend({**asked, "country": ["jp"]}, k=4)
    assert np.abs(other["scores"] - raw["scores"]).max() > 1e-6


@pytest.mark.backends("torch")
def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = build("mlm-bert", "token-and-cross")
    losses = model.fit(loader(sessions(48)), epochs=1, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert np.isfinite(finite(scores_of(model, batch()))).all()


def parts(scheme):
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA.without(CONTEXT), 16)(inputs)
    x, targets = scheme(x, inputs["item_id"])
    context = t4r.ContextFeatures(SCHEMA, CONTEXT)(inputs)
    return inputs, x, targets, table, context


@pytest.mark.backends("torch")
@pytest.mark.parametrize("nested", [False, True])
def test_a_head_that_would_read_the_token_is_refused(nested):
    inputs, x, targets, table, context = parts(t4r.CausalLanguageModeling())
    x = t4r.ContextToken()(x, context)
    if nested:
        encoder = keras.Model(inputs, [x, targets, table])
        inputs = SCHEMA.inputs()
        x, targets, table = encoder(inputs)
    with pytest.raises(ValueError, match=r"put keras_t4r\.DropContextToken"):
        t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    good = t4r.DropContextToken()(x)
    scores = t4r.NextItemHead()(good, targets, table)
    t4r.SessionModel(inputs, scores)
    # A summary may read the token; a value an event may not.
    first = keras.layers.Dense(1)(t4r.SessionSummary("first")(x))
    t4r.SessionModel(inputs, {"item": scores, "first": first})
    liked = keras.layers.Dense(1, name="liked")(x)
    with pytest.raises(ValueError, match="'liked' reads events with the position"):
        t4r.SessionModel(inputs, {"item": scores, "liked": liked})
    with pytest.raises(ValueError, match="takes an event away"):
        scores = t4r.NextItemHead()(t4r.DropContextToken()(good), targets, table)
        t4r.SessionModel(inputs, scores)


@pytest.mark.backends("torch")
def test_contexts_of_hidden_events_are_refused():
    def model(scheme):
        inputs, x, targets, table, _ = parts(scheme)
        price = ops.expand_dims(inputs["price"], -1)
        x = t4r.ContextFusion()(x, price)
        return t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))

    with pytest.raises(ValueError, match="those of the hidden events would be seen"):
        model(t4r.MaskedLanguageModeling())
    causal = model(t4r.CausalLanguageModeling())
    assert np.isfinite(finite(scores_of(causal, batch()))).all()


@pytest.mark.backends("torch")
def test_a_body_that_reads_times_gets_one_for_the_token():
    seconds = t4r.ColumnSchema("seconds", "float32", ("timestamp",), None, (1, LENGTH))
    schema = t4r.Schema((*SCHEMA.columns, seconds))
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema.without(CONTEXT), 16)(inputs)
    context = t4r.ContextFeatures(schema, CONTEXT)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    x, times = t4r.ContextToken()(x, context, times=inputs["seconds"])
    config = t4r.session_config("hstu", 16, n_head=2, n_layer=1, max_length=12)
    x = t4r.DropContextToken()(t4r.TransformerBlock(config)(x, times=times))
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    x = batch()
    x["seconds"] = (x["item_id"] != 0) * np.arange(LENGTH, dtype="float32") * 60
    y = finite(scores_of(model, x))
    later = finite(scores_of(model, {**x, "seconds": x["seconds"] * 5000}))
    assert np.isfinite(y).all() and np.abs(later - y).max() > 1e-6
