import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seeds import set_seed

import keras_t4r as t4r

RAW = [f"item-{i}" for i in range(1, 41)]


@pytest.fixture
def vocabulary_model(build, tmp_path):
    """A model of items alone whose schema has a vocabulary beside it."""
    schema = t4r.Schema((build.schema["item_id"],))
    schema.save(tmp_path / "schema.pbtxt")
    (tmp_path / "vocabularies").mkdir()
    pq.write_table(pa.table({"value": RAW}), tmp_path / "vocabularies" / "item.parquet")
    return build.model(schema=t4r.Schema.load(tmp_path / "schema.pbtxt"))


def test_recommend_takes_and_gives_raw_ids(vocabulary_model):
    model = vocabulary_model
    answer = model.recommend({"item_id": [["item-3", "item-7"], ["item-1"]]}, k=5)
    assert answer["item_id"].shape == answer["scores"].shape == (2, 5)
    assert set(answer["item_id"].ravel()) <= set(RAW)
    x = {"item_id": np.array([[4, 8, 0, 0], [2, 0, 0, 0]], "int32")}
    scores = model.predict_on_batch(x)
    best = np.argsort(-scores, axis=1)[:, :5]
    assert answer["item_id"].tolist() == [[RAW[i - 2] for i in r] for r in best]
    assert (np.diff(answer["scores"], axis=1) <= 0).all()


def test_vocabularies_come_back_with_a_keras_file(vocabulary_model, tmp_path):
    vocabulary_model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    sessions = {"item_id": [["item-3", "item-7"]]}
    a, b = vocabulary_model.recommend(sessions), loaded.recommend(sessions)
    assert a["item_id"].tolist() == b["item_id"].tolist()


def test_unknown_items_are_answered_as_unknown(vocabulary_model):
    known = vocabulary_model.recommend({"item_id": [["item-3", "never-seen"]]})
    assert set(known["item_id"].ravel()) <= set(RAW)


def test_seen_items_are_left_out_on_request(vocabulary_model):
    seen = [["item-3", "item-7", "item-9"]]
    answer = vocabulary_model.recommend({"item_id": seen}, k=37, exclude_seen=True)
    assert not set(answer["item_id"][0]) & set(seen[0])


def test_where_too_few_items_are_left_the_last_places_hold_none(vocabulary_model):
    seen = [["item-3", "item-7", "item-9"]]
    answer = vocabulary_model.recommend({"item_id": seen}, k=40, exclude_seen=True)
    assert set(answer["item_id"][0, :37]) == set(RAW) - set(seen[0])
    assert answer["item_id"][0, 37:].tolist() == [None] * 3
    assert np.isfinite(answer["scores"]).sum(1).tolist() == [37]
    assert np.isneginf(answer["scores"][0, 37:]).all()


def test_the_last_item_is_left_out_where_repeats_were_dropped(build):
    schema = t4r.Schema((build.schema["item_id"],))
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=build.width)
    inputs = schema.inputs()
    x, table = features(inputs)
    x, targets = t4r.MaskedLanguageModeling(0.3)(x, inputs["item_id"])
    x = build.block("xlnet", causal=False)(x)
    scores = t4r.NextItemHead()(x, targets, table)
    model = t4r.SessionModel(inputs, t4r.NoRepeat()(scores, inputs["item_id"]))
    ids = np.array([[4, 8, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]], "int32")
    scores = model.predict_on_batch({"item_id": ids})
    assert np.isneginf(scores[0, 8]) and np.isneginf(scores[1, 2])
    assert np.isneginf(scores).sum(1).tolist() == [3, 3, 2]
    clone = t4r.SessionModel.from_config(model.get_config())
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(clone.predict_on_batch({"item_id": ids}), scores)


def test_scheme_and_body_must_go_together(build):
    for scheme, causal, sentence in [
        (t4r.CausalLanguageModeling(), False, "needs a causal body"),
        (t4r.MaskedLanguageModeling(), True, "looks both ways"),
    ]:
        features = t4r.SequenceEmbeddingFeatures(build.schema, d_output=build.width)
        inputs = build.schema.inputs()
        x, table = features(inputs)
        x, targets = scheme(x, inputs["item_id"])
        x = build.block("bert", causal)(x)
        outputs = t4r.NextItemHead()(x, targets, table)
        with pytest.raises(ValueError, match=sentence):
            t4r.SessionModel(inputs, outputs)


def test_a_permutation_needs_a_body_that_hears_of_it(build):
    features = t4r.SequenceEmbeddingFeatures(build.schema, d_output=build.width)
    inputs = build.schema.inputs()
    scheme = t4r.PermutationLanguageModeling()
    x, table = features(inputs)
    x, targets, visible = scheme(x, inputs["item_id"])
    with pytest.raises(ValueError, match="takes a body of two streams, XLNet"):
        build.block("bert", causal=False)(x, visible=visible)
    deaf = build.block("xlnet", causal=False)(x)
    outputs = t4r.NextItemHead()(deaf, targets, table)
    with pytest.raises(ValueError, match="every position would see its own target"):
        t4r.SessionModel(inputs, outputs)


def test_replacements_need_targets_in_their_own_place(build):
    features = t4r.SequenceEmbeddingFeatures(build.schema, d_output=build.width)
    inputs = build.schema.inputs()
    items = inputs["item_id"]
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, items)
    x = build.block("gpt2", causal=True)(x)
    scores, replaced = t4r.GeneratorHead()(x, targets, table, items)
    outputs = t4r.ReplacedTokenDetection()(scores, x, replaced, items)
    with pytest.raises(ValueError, match="train it by Masked"):
        t4r.SessionModel(inputs, outputs)


@pytest.mark.parametrize(
    ("sessions", "error", "sentence"),
    [
        ({"items": [["item-3"]]}, ValueError, "no column 'item_id'"),
        ([["item-3"]], TypeError, "dict of column to lists"),
        ({"item_id": ["item-3"]}, TypeError, "a list of values for each session"),
        ({"item_id": [[1.5, "a"]]}, TypeError, "Column 'item_id'"),
    ],
)
def test_sessions_that_cannot_be_read_are_named(
    vocabulary_model, sessions, error, sentence
):
    with pytest.raises(error, match=sentence):
        vocabulary_model.recommend(sessions)


def test_recommend_checks_k_and_columns(build):
    model = build.model()
    x = build.batch(2, shortest=8)
    lists = {k: v.tolist() for k, v in x.items()}
    for k in (0, 41):
        with pytest.raises(ValueError, match="k must lie between 1 and"):
            model.recommend(lists, k=k)
    with pytest.raises(ValueError, match="Session 1 has 8 items but 7 values"):
        model.recommend({**lists, "age": [lists["age"][0], lists["age"][1][:7]]})
    with pytest.raises(ValueError, match="its ids run from 1 to 41"):
        model.recommend({**lists, "item_id": [[99] * 8, [3] * 8]})
    with pytest.raises(ValueError, match="is no number, or beyond 1e"):
        model.recommend({**lists, "age": [[float("nan")] * 8, [0.0] * 8]})
    with pytest.raises(ValueError, match="no column 'country'"):
        model.recommend({k: v for k, v in lists.items() if k != "country"})


def test_no_sessions_get_no_answers(vocabulary_model):
    answer = vocabulary_model.recommend({"item_id": []}, k=3)
    assert answer["item_id"].shape == (0, 3)


def test_training_logs_hold_the_loss_and_evaluation_the_ranks(build):
    model = build.model()
    train = t4r.KerasSequenceLoader(build.sessions(32), build.schema, 16)
    test = t4r.KerasSequenceLoader(
        build.sessions(32, seed=1), build.schema, 16, target="last"
    )
    history = model.fit(train, validation_data=test, epochs=2, verbose=0).history
    ranks = {"val_ndcg_4", "val_recall_4", f"val_mrr_{build.items}"}
    assert set(history) == {"loss", "val_loss", *ranks}
    with pytest.raises(ValueError, match="make the loader with target='last'"):
        model.evaluate(train, verbose=0)
    with pytest.raises(ValueError, match="pass it there"):
        model.compile("adam", loss="mse")


def test_metrics_of_one_name_have_entries_of_their_own_in_the_logs(build):
    model = build.model()
    plain, again, weighted = (t4r.metrics.NDCG(4) for _ in range(3))
    model.compile("adam", metrics=[plain, again], weighted_metrics=[weighted])
    assert model.ranking_metrics == {
        model.output_names[0]: {
            "ndcg_4": plain,
            "ndcg_4_1": again,
            "weighted_ndcg_4": weighted,
        }
    }
    sessions = build.sessions(32)
    weight = np.where(np.arange(32) < 5, 1.0, 0.0)
    schema = t4r.Schema((*build.schema, t4r.ColumnSchema("weight", "float32")))
    test = t4r.KerasSequenceLoader(
        sessions.append_column("weight", pa.array(weight)),
        schema,
        16,
        target="last",
        sample_weight="weight",
    )
    logs = model.evaluate(test, verbose=0, return_dict=True)
    first = t4r.KerasSequenceLoader(sessions[:5], build.schema, 16, target="last")
    only = model.evaluate(first, verbose=0, return_dict=True)
    assert logs["ndcg_4"] == logs["ndcg_4_1"] != logs["weighted_ndcg_4"]
    assert logs["weighted_ndcg_4"] == pytest.approx(only["ndcg_4"], abs=1e-6)


@pytest.mark.backends
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("body", ["xlnet", "gpt2", "bert"])
def test_mixed_precision_trains(build, policy, body):
    if keras.backend.backend() == "tensorflow" and (body == "gpt2") != (
        policy == "mixed_float16"
    ):
        pytest.skip("PyTorch shows both policies with each body")
    if keras.backend.backend() == "jax" and body != "gpt2":
        pytest.skip("TensorFlow and PyTorch show it; JAX compiles each anew")
    keras.config.set_dtype_policy(policy)
    model = build.model("clm", body)
    table = build.sessions(64)
    loader = t4r.KerasSequenceLoader(table, build.schema, 32, shuffle=False)
    losses = model.fit(loader, epochs=8, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    scores = model.predict_on_batch(build.batch(3))
    assert scores.dtype == np.float32 and np.isfinite(scores[:, 2:]).all()


def test_noise_acts_in_training_and_leaves_targets_and_answers_alone(build, tmp_path):
    def make(rate):
        set_seed(5)
        features = t4r.SequenceEmbeddingFeatures(build.schema, d_output=build.width)
        inputs = build.schema.inputs()
        noise = t4r.StochasticSwapNoise(build.schema.item_id, rate, seed=1)
        x, table = features(noise(inputs))
        x, targets = t4r.CausalLanguageModeling()(x, inputs[build.schema.item_id])
        x = build.block("gpt2", causal=True)(x)
        outputs = t4r.NextItemHead()(x, targets, table)
        model = t4r.SessionModel(inputs, outputs)
        model.compile(keras.optimizers.Adam(1e-2), metrics=[t4r.metrics.NDCG(4)])
        return model

    quiet, noisy = make(0.0), make(0.5)
    x = build.batch(8)
    before = quiet.predict_on_batch(x)
    np.testing.assert_array_equal(noisy.predict_on_batch(x), before)
    loader = t4r.KerasSequenceLoader(build.sessions(64), build.schema, 32)
    losses = noisy.fit(loader, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    noisy.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again.predict_on_batch(x), noisy.predict_on_batch(x), atol=1e-6
    )
    quiet.fit(loader, epochs=3, verbose=0)
    apart = quiet.predict_on_batch(x)[:, 2:] - noisy.predict_on_batch(x)[:, 2:]
    assert np.abs(apart).max() > 1e-3
