from types import SimpleNamespace

import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r

pytestmark = pytest.mark.backends
ITEMS, WIDTH = 12, 6


def make_head(**arguments):
    """A head with a table of its own, over ids 2..12."""
    table = SimpleNamespace(cardinality=ITEMS + 1, first_id=2, dim=WIDTH)
    return t4r.NextItemHead(table, tied=False, **arguments)


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
    head = make_head(label_smoothing=0.1, temperature=0.5)
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


def test_inference_scores_the_last_real_position():
    x, targets = example()
    head = make_head()
    mask = np.arange(5) < np.array([[5], [3], [1], [0]])
    scores = ops.convert_to_numpy(head(x, targets, x_mask=mask))
    table = ops.convert_to_numpy(head.own_table)
    for row, last in enumerate([4, 2, 0, 0]):
        np.testing.assert_allclose(
            scores[row, 2:], table[2:] @ x[row, last], rtol=1e-4, atol=1e-5
        )
    assert np.isneginf(scores[:, :2]).all()


def test_normalised_scores_are_cosines_over_the_temperature():
    x, targets = example()
    head = make_head(normalize=True, temperature=0.1, bias=False)
    mask = np.ones((4, 5), bool)
    scores = ops.convert_to_numpy(head(x, targets, x_mask=mask))[:, 2:]
    assert np.abs(scores).max() <= 10.0 + 1e-4
    table = ops.convert_to_numpy(head.own_table)[2:]
    cosine = (table @ x[0, 4]) / np.linalg.norm(table, axis=1) / np.linalg.norm(x[0, 4])
    np.testing.assert_allclose(scores[0], cosine / 0.1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie"),
    ],
)
def test_faults_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_head(**arguments)
    with pytest.raises(ValueError, match="needs the item table"):
        t4r.NextItemHead()
