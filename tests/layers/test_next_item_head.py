import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends
ITEMS, WIDTH = 12, 6


def make_head(**arguments):
    """A head with a table of its own, over ids 2..12."""
    return t4r.NextItemHead(cardinality=ITEMS + 1, **arguments)


def asked(last, rows=4, time=5):
    """Targets of inference: where each session is asked."""
    targets = np.zeros((rows, time), "int32")
    for row, position in enumerate(last):
        if position is not None:
            targets[row, position] = -1
    return targets


def example(rows=4, time=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, time, WIDTH)).astype("float32")
    targets = rng.integers(2, ITEMS + 1, (rows, time)).astype("int32")
    targets[rng.random((rows, time)) < 0.5] = 0
    return x, targets


def loss_of(head, x, targets):
    head(x, targets, training=True)
    return float(ops.convert_to_numpy(head.losses[0]))


def test_the_loss_is_the_mean_over_targets_and_reads_no_other_position():
    x, targets = example()
    head = make_head()
    loss = loss_of(head, x, targets)
    table = ops.convert_to_numpy(head.own_table)[2:]
    logits = x[targets > 0] @ table.T
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = targets[targets > 0] - 2
    assert loss == pytest.approx(
        -log_p[np.arange(len(wanted)), wanted].mean(), rel=1e-5
    )
    x[targets == 0] = 1e3
    assert loss_of(head, x, targets) == pytest.approx(loss, rel=1e-6)


def test_padding_on_either_axis_changes_no_loss():
    x, targets = example()
    head = make_head(loss=t4r.losses.FullSoftmax(0.1), temperature=0.5)
    wide = np.pad(x, ((0, 2), (0, 3), (0, 0)), constant_values=7.0)
    wide_targets = np.pad(targets, ((0, 2), (0, 3)))
    assert loss_of(head, wide, wide_targets) == pytest.approx(
        loss_of(head, x, targets), rel=1e-6
    )


def test_ids_that_are_no_items_are_never_targets():
    x, targets = example()
    head = make_head()
    loss = loss_of(head, x, targets)
    targets[targets == 0] = 1
    assert loss_of(head, x, targets) == pytest.approx(loss, rel=1e-6)


def test_a_batch_without_targets_has_loss_zero():
    x, targets = example()
    assert loss_of(make_head(), x, targets * 0) == 0.0


def test_inference_scores_the_position_that_is_asked():
    x, _ = example()
    head = make_head()
    scores = ops.convert_to_numpy(head(x, asked([4, 2, 0, None])))
    table = ops.convert_to_numpy(head.own_table)
    for row, last in enumerate([4, 2, 0, 0]):
        np.testing.assert_allclose(
            scores[row, 2:], table[2:] @ x[row, last], rtol=1e-4, atol=1e-5
        )
    assert np.isneginf(scores[:, :2]).all()


def test_normalised_scores_are_cosines_over_the_temperature():
    x, _ = example()
    head = make_head(normalize=True, temperature=0.1, bias=False)
    scores = ops.convert_to_numpy(head(x, asked([4, 4, 4, 4])))[:, 2:]
    assert np.abs(scores).max() <= 10.0 + 1e-4
    table = ops.convert_to_numpy(head.own_table)[2:]
    cosine = (table @ x[0, 4]) / np.linalg.norm(table, axis=1) / np.linalg.norm(x[0, 4])
    np.testing.assert_allclose(scores[0], cosine / 0.1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; it should be 0.0001 or more"),
        ({"temperature": 1e-30}, "temperature is 1e-30"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": float("nan")}, "temperature is NaN"),
        ({"dropout": 1.0}, "dropout is 1.0; it should be below 1"),
        ({"dropout": float("nan")}, "dropout is NaN"),
        ({"first_id": 0}, "first_id is 0; it should be 1 or more"),
        ({"first_id": 13}, "there is nothing to score"),
    ],
)
def test_faults_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_head(**arguments)(*example())
    x, targets = example()
    with pytest.raises(ValueError, match="has no table to score with"):
        t4r.NextItemHead()(x, targets)
    with pytest.raises(ValueError, match="was made for 13 ids, but the table"):
        make_head()(x, targets, np.ones((9, WIDTH), "float32"))
    for arguments in ({"temperature": "1"}, {"dropout": True}, {"first_id": 2.5}):
        with pytest.raises(TypeError, match="it should be a"):
            make_head(**arguments)
    with pytest.raises(TypeError, match="call\\(hidden, table, bias, targets, weights"):
        make_head(loss=keras.losses.MeanSquaredError())
    with pytest.raises(ValueError, match="label_smoothing is 1"):
        t4r.losses.FullSoftmax(1.0)
    with pytest.raises(ValueError, match="negatives is 0; it should be 1 or more"):
        t4r.losses.SampledSoftmax(0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dim", [WIDTH, 4])
def test_query_and_items_are_the_vectors_whose_product_is_the_score(
    bias, normalize, dim
):
    x, _ = example()
    table = np.random.default_rng(1).normal(size=(ITEMS + 1, dim)).astype("float32")
    head = t4r.NextItemHead(bias=bias, normalize=normalize, temperature=0.3)
    scores = ops.convert_to_numpy(head(x, asked([4, 4, 4, 4]), table))
    if bias:
        head.item_bias.assign(np.random.default_rng(2).normal(size=ITEMS + 1))
        scores = ops.convert_to_numpy(head(x, asked([4, 4, 4, 4]), table))
    query = ops.convert_to_numpy(head.query(x[:, 4]))
    items = ops.convert_to_numpy(head.items(table))
    np.testing.assert_allclose(
        (query @ items.T)[:, 2:], scores[:, 2:], rtol=1e-4, atol=1e-5
    )


def test_sample_weights_count_and_the_mean_is_over_targets():
    x, targets = example()
    head, zeros = make_head(), np.zeros_like(targets)

    def loss(weights, targets=targets):
        head(x, targets, sample_weight=np.asarray(weights, "float32"), training=True)
        return float(ops.convert_to_numpy(head.losses[0]))

    whole = loss_of(head, x, targets)
    assert loss(np.ones(4)) == pytest.approx(whole, rel=1e-6)
    assert loss(np.zeros(4)) == 0.0
    one = [
        loss_of(head, x, np.where(np.arange(4)[:, None] == i, targets, zeros))
        for i in range(4)
    ]
    counts, weights = (targets > 0).sum(1), np.array([0.5, 0.0, 2.0, 3.0])
    expected = (weights * counts * one).sum() / counts.sum()
    assert loss(weights) == pytest.approx(expected, rel=1e-5)
    over_events = np.repeat(weights[:, None], 5, axis=1)
    assert loss(over_events) == pytest.approx(expected, rel=1e-5)


def test_the_training_output_has_the_shape_of_its_spec():
    x, targets = example()
    head = make_head()
    spec = head(keras.Input((5, WIDTH)), keras.Input((5,), dtype="int32"))
    assert spec.shape == (None, None)
    assert head(x, targets, training=True).shape == (4, 0)
    assert head(x, targets, training=False).shape == (4, ITEMS + 1)
