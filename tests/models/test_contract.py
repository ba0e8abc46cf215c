"""What Keras's `compile`, `fit` and `evaluate` promise; refusals in one sentence."""

import warnings

import keras
import numpy as np
import pyarrow as pa
import pytest
from keras import ops
from seeds import set_seed

import keras_t4r as t4r
from keras_t4r.models.steps.output_losses import OutputLosses

pytestmark = pytest.mark.backends
WIDTH, ITEMS = 8, 20


def make_schema(longest=8):
    column = t4r.ColumnSchema(
        "item_id",
        tags=("item_id", "categorical"),
        domain=t4r.Domain(2, ITEMS + 1),
        value_count=(1, longest),
    )
    return t4r.Schema((column,))


SCHEMA = make_schema()


def sessions(count=32, seed=0, longest=8):
    rng = np.random.default_rng(seed)
    rows = [
        rng.integers(2, ITEMS + 2, n).tolist()
        for n in rng.integers(2, longest + 1, count)
    ]
    return pa.table({"item_id": pa.array(rows, pa.list_(pa.int32()))})


def loader(seed=0, **options):
    return t4r.KerasSequenceLoader(
        sessions(seed=seed), SCHEMA, 16, bucket=False, **options
    )


def held_out(**options):
    return loader(1, target="last", **options)


def encoder(inputs, body=None, scheme=None, **features):
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=WIDTH, **features)(
        inputs
    )
    x, targets = (scheme or t4r.CausalLanguageModeling())(x, inputs["item_id"])
    if body is None:
        config = t4r.session_config("gpt2", WIDTH, n_head=2, n_layer=1, dropout=0.0)
        body = t4r.TransformerBlock(config)
    return body(x), targets, table


def make_model(body=None, scheme=None, head=None, compiled=True, **features):
    set_seed(2)
    inputs = SCHEMA.inputs()
    scores = (head or t4r.NextItemHead())(*encoder(inputs, body, scheme, **features))
    model = t4r.SessionModel(inputs, scores)
    if compiled:
        model.compile("adam", metrics=[t4r.metrics.NDCG(5)])
    return model


# The model owns the length.


@pytest.mark.backends("torch")
def test_a_loader_that_shows_more_than_the_model_reads_is_refused():
    model = make_model(max_length=5)
    assert model.max_history == 4
    with pytest.raises(ValueError, match="up to 7 events of a session, but the model"):
        model.evaluate(held_out(), verbose=0)
    with pytest.raises(ValueError, match="make the loader with max_length=5"):
        model.fit(loader(), verbose=0)
    with pytest.raises(ValueError, match="make the loader with max_length=4"):
        model.fit(loader(max_length=5), validation_data=held_out(), verbose=0)
    model.fit(loader(max_length=5), validation_data=held_out(max_length=4), verbose=0)


@pytest.mark.parametrize("length", [4, 9])
def test_evaluation_of_arrays_reads_what_serving_reads(length):
    model = make_model(max_length=length)
    table = sessions(40, seed=3)
    whole = t4r.KerasSequenceLoader(table, make_schema(9), 40, target="last")
    x, y = whole[0]
    ndcg = model.evaluate(x, y, batch_size=40, verbose=0, return_dict=True)["ndcg_5"]
    rows = [row[:-1] for row in table["item_id"].to_pylist()]
    ids = model.recommend({"item_id": rows}, k=5)["item_id"]
    places = [list(i).index(t) if t in i else None for i, t in zip(ids, y, strict=True)]
    expected = np.mean([0 if p is None else 1 / np.log2(p + 2) for p in places])
    assert ndcg == pytest.approx(expected, abs=1e-6)


def test_a_schema_without_a_length_wants_one():
    schema = make_schema(0)
    with pytest.raises(ValueError, match="max_length"):
        t4r.SequenceEmbeddingFeatures(schema)
    features = t4r.SequenceEmbeddingFeatures(schema, max_length=6)
    assert features.max_length == 6


# What looks ahead, or sees padding, is found before it trains.


class TwoWay(keras.layers.Layer):
    """A user's layer that mixes all events."""

    supports_masking = True

    def call(self, x, mask=None):
        return x + ops.mean(x, axis=1, keepdims=True)


def nested_two_way():
    x = keras.Input((None, WIDTH))
    config = t4r.session_config("bert", WIDTH, n_head=2, n_layer=1)
    return keras.Model(x, t4r.TransformerBlock(config, causal=False)(x))


def attention():
    layer = keras.layers.MultiHeadAttention(2, 4)
    return lambda x: layer(x, x)


LOOKS_AHEAD = {
    "bidirectional": lambda: t4r.TransformerBlock(
        keras.layers.Bidirectional(
            keras.layers.GRU(WIDTH // 2, return_sequences=True, use_cudnn=False)
        )
    ),
    "nested": nested_two_way,
    "attention": attention,
    "own": TwoWay,
    "said to be causal": lambda: t4r.TransformerBlock(TwoWay(), causal=True),
}


@pytest.mark.backends("torch")
@pytest.mark.filterwarnings("ignore:.*does not support masking.*:UserWarning")
@pytest.mark.parametrize("kind", LOOKS_AHEAD)
def test_what_looks_ahead_under_a_causal_scheme_is_refused(kind):
    if kind == "nested":
        with pytest.raises(ValueError, match="needs a causal body"):
            make_model(LOOKS_AHEAD[kind]())
        return
    model = make_model(LOOKS_AHEAD[kind]())
    with pytest.raises(ValueError, match="looks ahead: changing an event"):
        model.fit(loader(), verbose=0)
    model.compile("adam", probe=False)
    model.fit(loader(), verbose=0)


@pytest.mark.backends("torch")
@pytest.mark.filterwarnings("ignore:.*does not support masking.*:UserWarning")
@pytest.mark.parametrize(
    "body",
    [
        lambda: keras.layers.GRU(WIDTH, return_sequences=True, use_cudnn=False),
        lambda: (
            lambda x: keras.layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
        ),
    ],
    ids=["gru", "causal attention"],
)
def test_what_keeps_to_the_past_is_not(body):
    make_model(body()).fit(loader(), verbose=0)


class LosesMask(keras.layers.Layer):
    def call(self, x):
        return x * 1.5 + 0.5


@pytest.mark.backends("torch")
@pytest.mark.filterwarnings("ignore:.*does not support masking.*:UserWarning")
def test_a_mask_lost_before_the_body_is_said_not_guessed():
    def body(keep):
        config = t4r.session_config("bert", WIDTH, n_head=2, n_layer=1)
        block, loses = t4r.TransformerBlock(config, causal=False), LosesMask()
        if keep:
            return lambda x: block(t4r.KeepMask()(x, loses(x)))
        return lambda x: block(loses(x))

    model = make_model(body(False), t4r.MaskedLanguageModeling())
    with pytest.raises(ValueError, match=r"sees padding.*KeepMask"):
        model.fit(loader(), verbose=0)
    make_model(body(True), t4r.MaskedLanguageModeling()).fit(loader(), verbose=0)


# compile, fit, evaluate.


def test_a_clone_does_not_train_without_the_counts_of_its_sampler():
    counts = 1.0 + np.arange(ITEMS + 2)
    sampler = t4r.losses.samplers.PopularitySampler(counts, negatives=4)
    model = make_model(head=t4r.NextItemHead(t4r.losses.SampledSoftmax(sampler)))
    clone = keras.models.clone_model(model)
    clone.compile("sgd")
    for train in (clone.fit, lambda x, **_: clone.train_on_batch(x[0][0])):
        with pytest.raises(ValueError, match="PopularitySampler has no counts"):
            train(loader(), verbose=0)
    clone.set_weights(model.get_weights())
    clone.fit(loader(), verbose=0)


@pytest.mark.parametrize("argument", ["run_eagerly", "jit_compile", "probe"])
def test_truth_values_of_compile_are_true_or_false(argument):
    model = make_model(compiled=False)
    for wrong in ("yes", 1, 0, []):
        with pytest.raises(TypeError, match=f"^{argument} is .* True or False"):
            model.compile("sgd", **{argument: wrong})


def test_what_cannot_be_done_is_refused_in_a_sentence():
    model = make_model(compiled=False)
    for metric in ("accuracy", ["accuracy"]):
        with pytest.raises(ValueError, match="give objects that read scores"):
            model.compile("adam", metrics=metric)
    with pytest.raises(ValueError, match=r"pass it there, NextItemHead\(loss="):
        model.compile("adam", loss="mse")
    with pytest.raises(ValueError, match="the model's outputs are"):
        model.compile("adam", metrics={"nothing": [t4r.metrics.NDCG(5)]})
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(ValueError, match="jit_compile=True cannot be had"):
            model.compile("adam", jit_compile=True)
    model.compile("adam", metrics=[t4r.metrics.NDCG(5)])
    with pytest.raises(ValueError, match="fit trains on whole sessions"):
        model.fit(held_out(max_length=7), verbose=0)
    x, y = held_out()[0]
    with pytest.raises(ValueError, match="take theirs from the scheme"):
        model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="class_weight has no meaning"):
        model.fit(loader(), class_weight={0: 1.0}, verbose=0)
    with pytest.raises(ValueError, match=r"make the loader with target='last'"):
        model.evaluate(loader(), verbose=0)
    with pytest.raises(ValueError, match=r"is saved as \.keras"):
        model.save("model.h5")


def test_a_head_that_takes_other_ids_than_the_schema_is_refused():
    with pytest.raises(ValueError, match=r"NextItemHead\(first_id=2\)"):
        make_model(head=t4r.NextItemHead(first_id=1))
    with pytest.raises(ValueError, match="scores 9 ids, but column 'item_id' has 22"):
        inputs = SCHEMA.inputs()
        x, targets, _ = encoder(inputs)
        t4r.SessionModel(inputs, t4r.NextItemHead(cardinality=9)(x, targets))


@pytest.mark.backends("torch")
def test_arguments_stand_where_keras_has_them():
    model = make_model()
    (x,) = loader(shuffle=False)[0]
    history = model.fit(x, None, 8, 2, 0)
    assert len(history.history["loss"]) == 2
    assert history.params["steps"] == 2
    x, y = held_out()[0]
    assert len(model.evaluate(x, y, 8, 0)) == 2
    assert model.predict(x, 8, 0).shape == (16, ITEMS + 2)


def test_a_metric_of_keras_reads_the_scores():
    model = make_model(compiled=False)
    top = keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5")
    model.compile("adam", metrics=[top, t4r.metrics.Recall(5)])
    model.fit(loader(), verbose=0)
    logs = model.evaluate(held_out(), verbose=0, return_dict=True)
    assert logs["top_5"] == pytest.approx(logs["recall_5"], abs=1e-6)


def test_weights_are_named_by_output_or_column_and_by_nothing_else():
    model = make_model()
    (x,) = loader(shuffle=False)[0]
    before = model.get_weights()
    for name in ("item_id", *model.heads):
        model.fit(x, sample_weight={name: np.zeros(16)}, batch_size=16, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x, y = held_out()[0]
    with pytest.raises(ValueError, match=r"an entry for \['typo'\]"):
        model.test_on_batch(x, y, sample_weight={"typo": np.zeros(16)})
    with pytest.raises(ValueError, match=r"y has an entry for \['typo'\]"):
        model.fit(x, {"typo": y}, verbose=0)


@pytest.mark.filterwarnings("ignore:.*does not support masking.*:UserWarning")
def test_heads_of_one_name_have_each_their_weight():
    inputs = SCHEMA.inputs()
    x, targets, _ = encoder(inputs)
    outputs = {}
    for name in ("one", "other"):
        parts = keras.Input((None, WIDTH)), keras.Input((None,), dtype="int32")
        head = t4r.NextItemHead(cardinality=ITEMS + 2, name="head")
        outputs[name] = keras.Model(parts, head(*parts))([x, targets])
    model = t4r.SessionModel(inputs, outputs)
    losses = []
    (x,) = loader(shuffle=False)[0]
    for weights in ({"one": 1.0, "other": 0.0}, {"one": 0.0, "other": 0.0}):
        model.compile(keras.optimizers.SGD(0.0), loss_weights=weights)
        losses.append(float(model.train_on_batch(x, return_dict=True)["loss"]))
    assert losses[0] > 1.0 and losses[1] == 0.0


def test_outputs_of_one_head_have_one_weight():
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs)
    head = t4r.NextItemHead()
    outputs = {name: head(x, targets, table) for name in ("one", "other")}
    model = t4r.SessionModel(inputs, outputs)
    with pytest.raises(ValueError, match="are of one head, which has one loss"):
        model.compile("sgd", loss_weights={"one": 0.5})
    model.compile("sgd", loss_weights={"one": 0.5, "other": 0.5})
    # Weights given by one of its outputs count, and its loss counts once.
    (x,), (cut, item), nothing = loader(shuffle=False)[0], held_out()[0], np.zeros(16)
    before = model.get_weights()
    for name in outputs:
        model.fit(x, sample_weight={name: nothing}, batch_size=16, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="give one of them a sample_weight"):
        given = {"one": nothing, "other": np.ones(16)}
        model.train_on_batch(x, sample_weight=given)
    logs = model.evaluate(cut, item, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(0.5 * logs["one_loss"], rel=1e-5)
    assert logs["one_loss"] == pytest.approx(logs["other_loss"], rel=1e-5)


def test_steps_after_a_head_may_stand_in_a_model():
    inputs = SCHEMA.inputs()
    scores = t4r.NextItemHead()(*encoder(inputs))
    given = keras.Input((None,)), keras.Input((None,), dtype="int32")
    last = keras.Model(given, t4r.NoRepeat()(*given), name="last")
    plain = keras.Sequential([keras.layers.Activation("linear")])(scores)
    model = t4r.SessionModel(inputs, last([plain, inputs["item_id"]]))
    assert list(model.heads) == ["last"]
    model.compile("sgd", metrics=[t4r.metrics.NDCG(5)])
    model.fit(loader(), verbose=0)
    assert model.evaluate(held_out(), verbose=0, return_dict=True)["ndcg_5"] >= 0
    assert 3 not in model.recommend({"item_id": [[4, 3]]}, k=ITEMS - 1)["item_id"]


def test_weights_beside_a_loader_are_refused_by_their_name():
    with pytest.raises(ValueError, match="sample_weight"):
        make_model().fit(loader(), sample_weight=np.ones(16), verbose=0)


@pytest.mark.parametrize("others", [("bought",), ("bought", "spent")])
def test_the_logs_have_the_loss_of_each_output_as_keras_has_it(others):
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs)
    outputs = {"next": t4r.NextItemHead()(x, targets, table)}
    for name in others:
        outputs[name] = keras.layers.Dense(1)(t4r.SessionSummary("mean")(x))
    model = t4r.SessionModel(inputs, outputs)
    weights = {"next": 0.5, "bought": 2.0, "spent": 0.25}
    weights = {name: weights[name] for name in outputs}
    model.compile("sgd", loss=dict.fromkeys(others, "mse"), loss_weights=weights)
    (x,), (cut, item) = loader(shuffle=False)[0], held_out()[0]
    y = {name: np.arange(16.0)[:, None] for name in others}
    alone = t4r.SessionModel(inputs, outputs["next"])
    alone.compile("sgd")
    alone.optimizer.learning_rate = 0.0
    expected = alone.fit(x, batch_size=16, verbose=0).history["loss"][0]
    trained = model.fit(x, y, batch_size=16, verbose=0).history
    trained = {name: values[0] for name, values in trained.items()}
    tested = model.evaluate(cut, {"next": item, **y}, verbose=0, return_dict=True)
    assert trained["next_loss"] == pytest.approx(expected, rel=1e-5)
    alone.reset_metrics()
    expected = alone.test_on_batch(cut, item, return_dict=True)["loss"]
    for logs in (trained, tested):
        assert {"loss", *(f"{name}_loss" for name in outputs)} == set(logs)
        total = sum(weights[name] * logs[f"{name}_loss"] for name in outputs)
        assert logs["loss"] == pytest.approx(total, rel=1e-5)
    assert tested["next_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_a_loaders_targets_are_those_of_all_heads_of_the_column():
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs)
    outputs = {n: t4r.NextItemHead()(x, targets, table) for n in ("one", "other")}
    model = t4r.SessionModel(inputs, outputs)
    model.compile("sgd", metrics={name: [t4r.metrics.MRR(ITEMS)] for name in outputs})
    logs = model.evaluate(held_out(), verbose=0, return_dict=True)
    for name, scores in outputs.items():
        alone = t4r.SessionModel(inputs, scores)
        alone.compile("sgd", metrics=[t4r.metrics.MRR(ITEMS)])
        expected = alone.evaluate(held_out(), verbose=0, return_dict=True)["mrr_20"]
        assert logs[f"{name}_mrr_20"] == pytest.approx(expected, abs=1e-6)


def test_values_of_events_are_cut_as_events_are():
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs, max_length=6)
    value = keras.layers.Dense(1, name="value")(x)
    scores = t4r.NextItemHead(name="next")(x, targets, table)
    model = t4r.SessionModel(inputs, {"next": scores, "value": value})
    model.compile("sgd", loss={"value": "mse"}, loss_weights={"next": 0.0})
    rng = np.random.default_rng(0)
    ids = rng.integers(2, ITEMS + 2, (8, 9)).astype("int32")
    y = {"next": ids[:, 0], "value": rng.normal(size=(8, 9)).astype("float32")}
    whole = model.evaluate({"item_id": ids}, y, verbose=0, return_dict=True)
    newest = model.evaluate(
        {"item_id": ids[:, -5:]},
        {"next": y["next"], "value": y["value"][:, -5:]},
        verbose=0,
        return_dict=True,
    )
    assert whole["loss"] == pytest.approx(newest["loss"], rel=1e-5)
    # Weights are cut as their targets are; alone an output takes an array.
    weights = {"value": rng.random((8, 9)).astype("float32")}
    whole = model.evaluate(
        {"item_id": ids}, y, sample_weight=weights, verbose=0, return_dict=True
    )
    newest = model.evaluate(
        {"item_id": ids[:, -5:]},
        {"next": y["next"], "value": y["value"][:, -5:]},
        sample_weight={"value": weights["value"][:, -5:]},
        verbose=0,
        return_dict=True,
    )
    assert whole["loss"] == pytest.approx(newest["loss"], rel=1e-5)
    alone = t4r.SessionModel(inputs, value)
    alone.compile("sgd", "mse")
    losses = [
        alone.evaluate({"item_id": ids[:, -n:]}, y["value"][:, -n:], verbose=0)
        for n in (9, 5)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_classes_of_a_session_are_no_events():
    inputs = SCHEMA.inputs()
    x, _, _ = encoder(inputs, max_length=6)
    kind = keras.layers.Dense(9, "softmax")(t4r.SessionSummary("mean")(x))
    model = t4r.SessionModel(inputs, kind)
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    ids = np.random.default_rng(0).integers(2, ITEMS + 2, (8, 9)).astype("int32")
    model.evaluate({"item_id": ids}, np.eye(9)[:8], verbose=0)


def test_padding_counts_for_nothing_in_losses_and_metrics_of_events():
    inputs = SCHEMA.inputs()
    # The padding is not cut off.
    x, targets, table = encoder(inputs, max_length=20)
    liked = keras.layers.Dense(1, "sigmoid", name="liked")(x)
    scores = t4r.NextItemHead(name="next")(x, targets, table)
    model = t4r.SessionModel(inputs, {"next": scores, "liked": liked})
    metrics = {"liked": ["auc", "binary_accuracy"]}
    model.compile(keras.optimizers.SGD(0.0), loss={"liked": "bce"}, metrics=metrics)
    x, item = held_out()[0]
    y = {"liked": (x["item_id"] % 2).astype("float32")}

    def pad(values):
        return {k: np.pad(v, ((0, 0), (0, 5))) for k, v in values.items()}

    logs, padded = (
        model.evaluate(x, {"next": item, **y}, verbose=0, return_dict=True)
        for x, y in ((x, y), (pad(x), pad(y)))
    )
    assert padded == pytest.approx(logs, abs=1e-5)
    real = x["item_id"] > 0
    said = np.asarray(model.predict(x, verbose=0)["liked"])[..., 0] > 0.5
    right = (said == y["liked"])[real].mean()
    assert logs["liked_binary_accuracy"] == pytest.approx(right, abs=1e-6)
    logs, padded = (
        model.fit(x, y, batch_size=16, verbose=0).history
        for x, y in ((x, y), (pad(x), pad(y)))
    )
    for name, values in logs.items():
        assert padded[name] == pytest.approx(values, abs=1e-5), name


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_compiling_again_leaves_nothing_of_the_losses_before():
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs)
    bought = keras.layers.Dense(1)(t4r.SessionSummary("last")(x))
    scores = t4r.NextItemHead()(x, targets, table)
    model = t4r.SessionModel(inputs, {"next": scores, "bought": bought})
    (x,) = loader(shuffle=False)[0]
    with pytest.raises(ValueError, match="Compile the model first"):
        model.fit(x, verbose=0)
    model.compile("sgd", loss={"bought": "mse"}, metrics={"bought": ["mae"]})
    model.fit(x, {"bought": np.zeros(16)}, verbose=0)
    model.compile("sgd")
    assert set(model.fit(x, verbose=0).history) == {"loss"}


def test_the_probe_reads_inputs_of_any_structure():
    item = keras.Input((None,), dtype="int32", name="item_id")
    x, targets, table = encoder({"item_id": item}, LOOKS_AHEAD["own"]())
    scores = t4r.NextItemHead()(x, targets, table)
    model = t4r.SessionModel([item], scores)
    model.compile("adam")
    with pytest.raises(ValueError, match="looks ahead"):
        model.fit([loader()[0][0]["item_id"]], verbose=0)


def test_prediction_reads_what_serving_reads():
    model = make_model(max_length=5)
    ids = np.random.default_rng(0).integers(2, ITEMS + 2, (4, 8)).astype("int32")
    np.testing.assert_allclose(
        model.predict({"item_id": ids}, verbose=0),
        model.predict({"item_id": ids[:, -4:]}, verbose=0),
        atol=1e-6,
    )


@pytest.mark.parametrize("of", ["last", "session"])
def test_what_may_not_come_again_is_the_models(of):
    inputs = SCHEMA.inputs()
    scores = t4r.NextItemHead()(*encoder(inputs))
    model = t4r.SessionModel(inputs, t4r.NoRepeat(of)(scores, inputs["item_id"]))
    rows = [[3, 9, 4], [7, 5]]
    answered = keras.models.clone_model(model).recommend({"item_id": rows}, ITEMS)
    for row, ids in zip(rows, answered["item_id"].tolist(), strict=True):
        gone = set(row) if of == "session" else {row[-1]}
        assert set(range(2, ITEMS + 2)) - set(ids) == gone


def test_seen_items_are_left_out_of_evaluation_as_of_answers():
    model = make_model()
    x, y = held_out()[0]
    rows = [[int(i) for i in row if i] for row in x["item_id"]]
    model.fit(loader(), epochs=2, verbose=0)
    for exclude in (True, False):
        logs = model.evaluate(x, y, verbose=0, return_dict=True, exclude_seen=exclude)
        ids = model.recommend({"item_id": rows}, 5, exclude)["item_id"]
        places = [
            list(i).index(t) if t in i else None for i, t in zip(ids, y, strict=True)
        ]
        expected = np.mean([0 if p is None else 1 / np.log2(p + 2) for p in places])
        assert logs["ndcg_5"] == pytest.approx(expected, abs=1e-6)


def test_recompiling_forgets_the_metrics_before():
    model = make_model()
    model.compile("adam", metrics=[t4r.metrics.MRR(3)])
    logs = model.evaluate(held_out(), verbose=0, return_dict=True)
    assert set(logs) == {"loss", "mrr_3"}


def test_a_model_that_diverged_is_nan_and_answers_nothing():
    model = make_model()
    weights = model.get_weights()
    for share in (slice(None), slice(3, 4)):
        # All rows, or that of one item, as a row-sparse optimizer leaves them.
        wrong = [w.copy() for w in weights]
        for w in wrong:
            if w.shape == (ITEMS + 2, WIDTH):
                w[share] = np.nan
        model.set_weights(wrong)
        logs = model.evaluate(held_out(), verbose=0, return_dict=True)
        assert set(logs) == {"loss", "ndcg_5"} and np.isnan(list(logs.values())).all()
        with pytest.raises(ValueError, match="scores are NaN: the model has diverged"):
            model.recommend({"item_id": [[5, 9], [7]]})
        with pytest.raises(ValueError, match=r"weights '.*' hold a value that"):
            model.item_vectors()


def test_an_epoch_without_a_target_says_so():
    model = make_model()
    x = {"item_id": np.array([[5, 0], [7, 0], [5, 7], [7, 5]], "int32")}
    nothing = {"item_id": x["item_id"][:2]}
    how = dict(batch_size=2, verbose=0)
    # A batch without a target is one like others.
    assert model.train_on_batch(nothing, return_dict=True)["loss"] == 0.0
    (loss,) = model.fit(x, shuffle=False, **how).history["loss"]
    assert loss > 1.0
    unknown = np.array([1, 1, 5, 7])
    logs = model.evaluate(x, unknown, return_dict=True, **how)
    assert logs["loss"] > 1.0
    with pytest.warns(UserWarning, match="hold no target of .*next_item_head"):
        (loss,) = model.fit(nothing, **how).history["loss"]
    assert np.isnan(loss)
    with pytest.warns(UserWarning, match="a session needs two events"):
        logs = model.evaluate(nothing, unknown[:2], return_dict=True, **how)
    # An unknown item is a miss, but has no likelihood.
    assert np.isnan(logs["loss"]) and logs["ndcg_5"] == 0.0


class OwnLoss(t4r.SessionModel):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **more):
        return sum(self.losses)


@pytest.mark.backends("torch")
def test_a_loss_of_ones_own_is_what_it_is():
    """Of its targets nothing is known, which is no word on how many there are."""
    parts = make_model()
    model = OwnLoss(parts.input, parts.output)
    model.compile("adam", metrics=[t4r.metrics.NDCG(5)])
    x = {"item_id": np.array([[5, 7], [7, 5]], "int32")}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        (loss,) = model.fit(x, verbose=0).history["loss"]
    assert loss > 1.0


@pytest.mark.backends("torch")
def test_a_loss_of_nothing_is_no_loss_of_other_outputs():
    losses = OutputLosses(["one", "other", "unknown"], {"bought": 1.0})
    losses.update({}, {"one": 0.0, "other": 2.0}, 4)
    with pytest.warns(UserWarning, match=r"no target of \['one'\]"):
        assert list(losses.of_nothing()) == ["one_loss"]
    losses = OutputLosses(["one", "other"], {})
    losses.update({}, {"one": 0.0, "other": 0.0}, 4)
    with pytest.warns(UserWarning):
        assert list(losses.of_nothing()) == ["one_loss", "other_loss", "loss"]
