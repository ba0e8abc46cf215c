import json

import keras
import numpy as np
import pytest

from keras_t4r import metrics

pytestmark = pytest.mark.backends
KINDS = [metrics.NDCG, metrics.Recall, metrics.MRR, metrics.Precision, metrics.MAP]
BY_HAND = {
    "ndcg": lambda rank, k: 1 / np.log2(1 + rank),
    "recall": lambda rank, k: 1.0,
    "mrr": lambda rank, k: 1 / rank,
    "precision": lambda rank, k: 1 / k,
    "map": lambda rank, k: 1 / rank,
}


def brute_force(kind, k, targets, scores):
    """By sorting, session by session; ties against the model."""
    values = []
    for target, row in zip(targets, scores, strict=True):
        if target == 0:
            continue
        order = sorted(range(len(row)), key=lambda i: (-row[i], i == target))
        rank = order.index(target) + 1
        values.append(BY_HAND[kind.short_name](rank, k) if rank <= k else 0.0)
    return np.mean(values)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short_name)
@pytest.mark.parametrize("k", [1, 5, 20])
def test_equals_brute_force_over_all_batches(kind, k):
    rng = np.random.default_rng(0)
    # Rounded, so that there are ties; the last batch is a short one.
    scores = np.round(rng.normal(size=(53, 30)), 1).astype("float32")
    targets = rng.integers(0, 30, 53).astype("int32")
    metric = kind(k)
    for start in range(0, 53, 20):
        metric.update_state(targets[start : start + 20], scores[start : start + 20])
    expected = brute_force(kind, k, targets, scores)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short_name)
def test_constant_scores_earn_nothing(kind):
    metric = kind(5)
    metric.update_state([3, 4], np.zeros((2, 30), "float32"))
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short_name)
def test_a_target_whose_score_is_nan_makes_the_mean_nan(kind):
    scores = np.eye(6, dtype="float32")
    scores[3] = np.nan
    scores[3, 1] = -np.inf
    metric = kind(5)
    # Another item's is one above; a target that does not count, or is none, a miss.
    metric.update_state([1, 2], np.where(scores[[1, 2]] > 0, 0, scores[[3]]))
    metric.update_state([0, 1, 4], scores[[3, 3, 4]], sample_weight=[1.0, 1.0, 1.0])
    metric.update_state([4], scores[[3]], sample_weight=[0.0])
    assert np.isfinite(float(metric.result())) and float(metric.count) == 4
    metric.update_state([4], scores[[3]])
    assert np.isnan(float(metric.result()))


def test_weights_and_reset():
    metric = metrics.Recall(1)
    scores = np.eye(4, dtype="float32")
    metric.update_state([0 + 1, 3], scores[[1, 2]], sample_weight=[3.0, 1.0])
    assert float(metric.result()) == pytest.approx(0.75)
    metric.reset_state()
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short_name)
def test_serialization_round_trip(kind):
    config = keras.saving.serialize_keras_object(kind(7))
    json.dumps(config)
    loaded = keras.saving.deserialize_keras_object(config)
    assert type(loaded) is kind and loaded.k == 7 and loaded.name == kind(7).name


def test_k_starts_at_one():
    with pytest.raises(ValueError, match="k is 0; it should be 1 or more"):
        metrics.NDCG(0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short_name)
def test_a_target_at_minus_infinity_is_a_miss_at_every_k(kind):
    # Ids 0 and 1 are padding and unknown; item 4 was left out of the answers.
    scores = np.array([[-np.inf, -np.inf, 0.3, 0.2, -np.inf]] * 4, "float32")
    metric = kind(100)
    metric.update_state([1, 4], scores[:2])
    assert float(metric.result()) == 0.0
    assert float(metric.count) == 2
    metric.update_state([0, 2], scores[2:])
    alone = kind(100)
    alone.update_state([2], scores[:1])
    assert float(metric.count) == 3
    assert float(metric.result()) == pytest.approx(float(alone.result()) / 3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short_name)
def test_callbacks_in_auto_mode_know_that_more_is_better(kind, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=loss, metrics=[kind(2)])
    name = f"val_{kind(2).name}"
    stopping = keras.callbacks.EarlyStopping(name)
    saving = keras.callbacks.ModelCheckpoint(
        tmp_path / "m.weights.h5", name, save_weights_only=True, save_best_only=True
    )
    x, y = np.ones((4, 3), "float32"), np.array([1, 2, 3, 4])
    model.fit(x, y, validation_data=(x, y), callbacks=[stopping, saving], verbose=0)
    for callback in (stopping, saving):
        assert callback.monitor_op(2.0, 1.0) and not callback.monitor_op(1.0, 2.0)
