"""Parts compose as Keras's do: each model here trains, evaluates and comes back."""

import keras
import numpy as np
import pyarrow as pa
import pytest
from keras import ops
from seeds import set_seed

import keras_t4r as t4r

pytestmark = pytest.mark.backends
WIDTH, LENGTH, ITEMS, CATEGORIES = 8, 6, 20, 4

SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, ITEMS + 1, "item"),
            value_count=(1, LENGTH),
        ),
        t4r.ColumnSchema(
            "category",
            tags=("categorical",),
            domain=t4r.Domain(2, CATEGORIES + 1, "category"),
            value_count=(1, LENGTH),
        ),
        t4r.ColumnSchema("bought", "float32", ("binary_classification",)),
        t4r.ColumnSchema("spent", "float32", ("regression",)),
        t4r.ColumnSchema("liked", "float32", ("target",), None, (1, LENGTH)),
        t4r.ColumnSchema("weight", "float32", ("target",)),
    )
)


def sessions(count=32, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, LENGTH + 1, count)
    items = [rng.integers(2, ITEMS + 2, n).astype("int32") for n in lengths]

    def lists(rows, dtype):
        return pa.array([r.tolist() for r in rows], pa.list_(dtype))

    return pa.table(
        {
            "item_id": lists(items, pa.int32()),
            "category": lists([i % CATEGORIES + 2 for i in items], pa.int32()),
            "bought": pa.array([float(i[0] % 2) for i in items], pa.float32()),
            "spent": pa.array([float(i[0]) / ITEMS for i in items], pa.float32()),
            "liked": lists([(i % 2).astype("float32") for i in items], pa.float32()),
            "weight": pa.array(rng.random(count).astype("float32")),
        }
    )


def whole(targets=None, **options):
    options = {"targets": targets, **options} if targets else options
    return t4r.KerasSequenceLoader(sessions(), SCHEMA, 16, bucket=False, **options)


def held_out(targets=None, **options):
    options = {"targets": targets, **options} if targets else options
    return t4r.KerasSequenceLoader(
        sessions(seed=1),
        SCHEMA,
        16,
        target="last",
        bucket=False,
        **options,
    )


def encoder(inputs, scheme="clm", columns="item_id", between=lambda x: x):
    """`(x, targets, table)` of a small session encoder."""
    features = t4r.SequenceEmbeddingFeatures(SCHEMA, WIDTH, embedding_dim=4)
    x, table = features(inputs)
    layer = {
        "clm": t4r.CausalLanguageModeling,
        "mlm": t4r.MaskedLanguageModeling,
    }[scheme]()
    ids = inputs[columns] if isinstance(columns, str) else [inputs[c] for c in columns]
    x, targets = layer(between(x), ids)
    config = t4r.session_config(
        "gpt2" if scheme == "clm" else "bert", WIDTH, n_head=2, n_layer=1, dropout=0.0
    )
    x = t4r.TransformerBlock(config, causal=scheme == "clm")(between(x))
    return between(x), targets, table


def answers(model):
    """What a model answers to a batch, by the names of its outputs."""
    (x,) = whole(shuffle=False)[0]
    y = model.predict_on_batch({k: v for k, v in x.items() if k in model.input})
    y = y if isinstance(y, dict) else {"answer": y}
    return {name: np.asarray(value) for name, value in y.items()}


def same(model, other):
    one, two = answers(model), answers(other)
    assert set(one) == set(two)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=1e-5, err_msg=name)


def trains_and_comes_back(model, train, test, tmp_path):
    """Fit, evaluate, and the same answers from a file, a config and a clone."""
    losses = model.fit(train, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    logs = model.evaluate(test, verbose=0, return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    same(model, loaded)
    again = loaded.evaluate(test, verbose=0, return_dict=True)
    assert again == pytest.approx(logs, abs=1e-5)
    rebuilt = type(model).from_config(model.get_config())
    rebuilt.set_weights(model.get_weights())
    same(model, rebuilt)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    same(model, clone)
    return logs


def ndcg(k=5):
    return [t4r.metrics.NDCG(k)]


def test_the_design_script(tmp_path):
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, d_output=WIDTH)(inputs)
    x, targets = t4r.MaskedLanguageModeling(rate=0.3)(x, inputs[SCHEMA.item_id])
    x = t4r.TransformerBlock(
        t4r.session_config("xlnet", d_model=WIDTH, n_head=2, n_layer=2)
    )(x)
    head = t4r.NextItemHead(loss=t4r.losses.SampledSoftmax(16))
    model = t4r.SessionModel(inputs, head(x, targets, table))
    model.compile(
        keras.optimizers.Adam(1e-3), metrics=[t4r.metrics.NDCG(20), t4r.metrics.MRR(5)]
    )
    logs = trains_and_comes_back(model, whole(), held_out(), tmp_path)
    assert set(logs) == {"loss", "ndcg_20", "mrr_5"}


def test_the_design_script_with_a_second_output(tmp_path):
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs)
    scores = t4r.NextItemHead()(x, targets, table)
    bought = keras.layers.Dense(1, "sigmoid", name="bought")(
        t4r.SessionSummary("last")(x)
    )
    model = t4r.SessionModel(inputs, {"next_item": scores, "bought": bought})
    model.compile(
        "adamw",
        loss={"bought": "binary_crossentropy"},
        loss_weights={"next_item": 1.0, "bought": 0.3},
        metrics={"next_item": ndcg(), "bought": ["auc"]},
    )
    logs = trains_and_comes_back(
        model, whole(["bought"]), held_out(["bought"]), tmp_path
    )
    assert {"loss", "next_item_ndcg_5", "bought_auc"} <= set(logs)


@pytest.mark.parametrize("scheme", ["clm", "mlm"])
def test_two_next_item_heads_of_two_targets(scheme, tmp_path):
    inputs = SCHEMA.inputs()
    x, (items, categories), table = encoder(inputs, scheme, ["item_id", "category"])
    outputs = {
        "item": t4r.NextItemHead()(x, items, table),
        "kind": t4r.NextItemHead(cardinality=CATEGORIES + 2, target="category")(
            x, categories
        ),
    }
    model = t4r.SessionModel(inputs, outputs)
    metrics = {"item": ndcg(), "kind": [t4r.metrics.Recall(2)]}
    model.compile("adam", metrics=metrics, loss_weights={"kind": 0.5})
    logs = trains_and_comes_back(
        model, whole(), held_out(next_columns=["item_id", "category"]), tmp_path
    )
    assert {"item_ndcg_5", "kind_recall_2"} <= set(logs)
    answer = model.recommend({"item_id": [[3, 4]], "category": [[3, 2]]}, k=3)
    assert answer["item_id"].shape == (1, 3)


@pytest.mark.parametrize("experts", ["mmoe", "ple"])
def test_tasks_of_all_kinds_over_experts(experts, tmp_path):
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs)
    if experts == "mmoe":
        mixed = t4r.MMoE(4, 3, (WIDTH,))(x)
    else:
        mixed = t4r.PLE(4, 1, 1, 1, (WIDTH,))(x)
    of_session = [t4r.SessionSummary("mean")(part) for part in mixed[1:3]]
    dense = keras.layers.Dense
    outputs = {
        "next_item": t4r.NextItemHead()(mixed[0], targets, table),
        "bought": dense(1, "sigmoid")(t4r.TaskTower((4,))(of_session[0])),
        "spent": dense(1)(t4r.TaskTower((4,))(of_session[1])),
        "liked": dense(1, "sigmoid")(mixed[3]),
    }
    model = t4r.SessionModel(inputs, outputs)
    names = ["bought", "spent", "liked"]
    model.compile(
        "adam",
        loss={"bought": "binary_crossentropy", "spent": "mse", "liked": "bce"},
        loss_weights={"next_item": 1.0, "bought": 0.3, "spent": 2.0, "liked": 0.1},
        metrics={"next_item": ndcg(), "bought": ["auc"], "spent": ["mae"]},
        weighted_metrics={"liked": ["binary_accuracy"]},
    )
    trains_and_comes_back(model, whole(names), held_out(names), tmp_path)


def test_an_encoder_is_a_model_that_two_models_use(tmp_path):
    inputs = SCHEMA.inputs()
    shared = keras.Model(inputs, encoder(inputs), name="encoder")
    models = []
    for loss in (None, t4r.losses.SampledSoftmax(8)):
        fresh = SCHEMA.inputs()
        x, targets, table = shared(fresh)
        model = t4r.SessionModel(fresh, t4r.NextItemHead(loss)(x, targets, table))
        model.compile("adam", metrics=ndcg())
        models.append(model)
    trains_and_comes_back(models[0], whole(), held_out(), tmp_path)
    assert models[1].features is models[0].features
    trains_and_comes_back(models[1], whole(), held_out(), tmp_path)


def test_an_encoder_may_share_the_models_own_inputs(tmp_path):
    inputs = SCHEMA.inputs()
    x, targets, table = keras.Model(inputs, encoder(inputs))(inputs)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile("adam", metrics=ndcg())
    trains_and_comes_back(model, whole(), held_out(), tmp_path)


def test_a_layer_of_two_models_is_refused_by_a_file_and_kept_by_weights(tmp_path):
    inputs, fresh = SCHEMA.inputs(), SCHEMA.inputs()
    dense = keras.layers.Dense(WIDTH)
    shared = keras.Model(fresh, encoder(fresh, between=dense), name="encoder")
    x, targets, table = shared(inputs)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(dense(x), targets, table))
    model.compile("adam")
    with pytest.raises(ValueError, match=r"\['dense.*'\] are called in more than one"):
        model.save(tmp_path / "model.keras")
    assert not any(tmp_path.iterdir())
    model.fit(whole(), verbose=0)
    before = answers(model)["answer"]
    model.save_weights(tmp_path / "model.weights.h5")
    model.fit(whole(), verbose=0)
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(answers(model)["answer"], before, atol=1e-6)


def test_fresh_inputs_twice_on_one_features_layer(tmp_path):
    features = t4r.SequenceEmbeddingFeatures(SCHEMA, WIDTH, embedding_dim=4)
    head = t4r.NextItemHead()
    for _ in range(2):
        inputs = SCHEMA.inputs()
        x, table = features(inputs)
        x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
        model = t4r.SessionModel(inputs, head(x, targets, table))
        model.compile("adam", metrics=ndcg())
        trains_and_comes_back(model, whole(), held_out(), tmp_path)


@keras.saving.register_keras_serializable(package="tests")
class OfTheUser(keras.layers.Layer):
    """As short as a layer can be."""

    def call(self, x):
        return x * 2.0


BETWEEN = {
    "dense": lambda x: keras.layers.Dense(WIDTH, "relu")(x),
    "residual": lambda x: x + keras.layers.Dense(WIDTH)(x),
    "operations": lambda x: ops.gelu(x * 0.5),
    "sequential": lambda x: keras.Sequential(
        [keras.layers.Dense(WIDTH), keras.layers.LayerNormalization()]
    )(x),
    "concatenate": lambda x: keras.layers.Dense(WIDTH)(
        keras.layers.Concatenate()([x, ops.zeros_like(x)])
    ),
    "own layer": lambda x: t4r.KeepMask()(x, OfTheUser()(x)),
}


@pytest.mark.filterwarnings("ignore:.*does not support masking.*:UserWarning")
@pytest.mark.parametrize(
    ("between", "scheme"),
    # A causal body does without the mask that Keras drops on the way; a two-way body
    # must be given it again.
    [
        (("dense", "own layer"), "clm"),
        (("sequential",), "clm"),
        (("residual", "operations"), "mlm"),
        (("concatenate",), "mlm"),
    ],
    ids=lambda case: case if isinstance(case, str) else ", ".join(case),
)
def test_keras_layers_between_any_two(between, scheme, tmp_path):
    def layers(x):
        for name in between:
            x = BETWEEN[name](x)
        return x

    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs, scheme, between=layers)
    scores = t4r.NextItemHead()(x, targets, table)
    scores = keras.layers.Activation("linear")(scores)
    model = t4r.SessionModel(inputs, t4r.NoRepeat()(scores, inputs["item_id"]))
    model.compile("adam", metrics=ndcg())
    trains_and_comes_back(model, whole(), held_out(), tmp_path)
    (x,) = whole(shuffle=False)[0]
    wide = {k: np.pad(v, ((0, 0), (0, 3))) for k, v in x.items()}
    np.testing.assert_allclose(
        model.predict_on_batch(wide), model.predict_on_batch(x), atol=1e-5
    )


@keras.saving.register_keras_serializable(package="tests")
class WithContent(keras.layers.Layer):
    """An item's vector: that of its id, and one made of what is known of it."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def build(self, table_shape):
        shape = (table_shape[0], self.size)
        self.content = self.add_weight(shape=shape, trainable=False, name="content")
        self.kernel = self.add_weight(shape=(self.size, table_shape[1]), name="kernel")

    def call(self, table):
        return table + ops.matmul(self.content, self.kernel)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


def test_a_table_is_computed_from_ids_and_content(tmp_path):
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs)
    layer = WithContent(3)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, layer(table)))
    content = np.random.default_rng(0).normal(size=(ITEMS + 2, 3)).astype("float32")
    layer.content.assign(content)
    before = ops.convert_to_numpy(layer.kernel)
    model.compile(keras.optimizers.Adam(1e-2), metrics=ndcg())
    trains_and_comes_back(model, whole(), held_out(), tmp_path)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.content), content)
    assert np.abs(ops.convert_to_numpy(layer.kernel) - before).max() > 1e-3


@pytest.mark.usefixtures("quick_collections")
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_int8_comes_back_from_a_file(tmp_path):
    inputs = SCHEMA.inputs()
    x, targets, table = encoder(inputs)
    bought = keras.layers.Dense(1, "sigmoid")(
        t4r.TaskTower((4,))(t4r.SessionSummary("attention")(t4r.MMoE(1, 2, (8,))(x)[0]))
    )
    scores = t4r.NextItemHead()(x, targets, table)
    model = t4r.SessionModel(inputs, {"next_item": scores, "bought": bought})
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    same(model, keras.saving.load_model(tmp_path / "model.keras"))


@keras.saving.register_keras_serializable(package="tests")
class PairwiseLoss(t4r.losses.NextItemLoss):
    def __init__(self, negatives=4):
        self.negatives = negatives

    def call(self, hidden, table, bias, targets, weights):
        others = (targets[:, None] + 1 + ops.arange(self.negatives)) % table.shape[0]
        score = ops.sum(hidden * ops.take(table, targets, axis=0), -1)[:, None]
        other = ops.sum(hidden[:, None] * ops.take(table, others, axis=0), -1)
        other = other + ops.take(bias, others)
        return ops.sum(weights * ops.mean(ops.softplus(other - score), axis=1))

    def get_config(self):
        return {"negatives": self.negatives}


def test_a_loss_of_the_users(tmp_path):
    inputs = SCHEMA.inputs()
    scores = t4r.NextItemHead(loss=PairwiseLoss(3))(*encoder(inputs))
    model = t4r.SessionModel(inputs, scores)
    model.compile("adam", metrics=ndcg())
    trains_and_comes_back(model, whole(), held_out(), tmp_path)
    clone = keras.models.clone_model(model)
    (head,) = clone.heads.values()
    assert head.loss.negatives == 3


def plain_model(**compiled):
    inputs = SCHEMA.inputs()
    set_seed(3)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(*encoder(inputs)))
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1), **compiled})
    return model


def test_sample_weights_count_in_training_and_in_evaluation():
    model = plain_model(metrics=ndcg(), weighted_metrics=[t4r.metrics.MRR(5)])
    (x,) = whole(shuffle=False)[0]
    before = model.get_weights()
    model.fit(x, sample_weight=np.zeros(16), batch_size=16, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # As Keras has it: weights count in the sum, and not in the number of targets.
    first, targets = {k: v[:8] for k, v in x.items()}, (x["item_id"] > 0).sum(1) - 1
    weights = np.repeat([2.0, 0.0], 8).astype("float32")
    model.reset_metrics()
    weighted = model.train_on_batch(x, sample_weight=weights)
    model.set_weights(before)
    model.reset_metrics()
    expected = 2 * model.train_on_batch(first) * targets[:8].sum() / targets.sum()
    assert float(weighted) == pytest.approx(float(expected), rel=1e-5)
    x, y = held_out()[0]
    weights = np.repeat([1.0, 0.0], 8).astype("float32")
    half = {k: v[:8] for k, v in x.items()}
    of_all = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    first = model.evaluate(half, y[:8], verbose=0, return_dict=True)
    assert of_all["mrr_5"] == pytest.approx(first["mrr_5"], abs=1e-6)
    # As Keras has it: the mean of the loss is over all, metrics count all alike.
    assert of_all["loss"] == pytest.approx(first["loss"] / 2, abs=1e-5)


class WithPenalty(t4r.SessionModel):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
        loss = super().compute_loss(x, y, y_pred, sample_weight, **kwargs)
        return loss + 1000.0


def test_a_subclass_may_override_compute_loss():
    inputs = SCHEMA.inputs()
    model = WithPenalty(inputs, t4r.NextItemHead()(*encoder(inputs)))
    model.compile("adam", metrics=ndcg())
    assert model.fit(whole(), epochs=1, verbose=0).history["loss"][0] > 1000
    assert model.evaluate(held_out(), verbose=0, return_dict=True)["loss"] > 1000


def test_callbacks_follow_a_ranking_metric_in_auto_mode(tmp_path):
    model = plain_model(optimizer="adam", metrics=ndcg())
    best = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.EarlyStopping("val_ndcg_5", patience=1),
        keras.callbacks.ModelCheckpoint(best, "val_ndcg_5", save_best_only=True),
        keras.callbacks.ReduceLROnPlateau("val_ndcg_5", patience=1),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    ]
    history = model.fit(
        whole(),
        validation_data=held_out(),
        epochs=4,
        verbose=0,
        callbacks=callbacks,
    ).history["val_ndcg_5"]
    logs = keras.saving.load_model(best).evaluate(
        held_out(), verbose=0, return_dict=True
    )
    assert logs["ndcg_5"] == pytest.approx(max(history), abs=1e-6)
