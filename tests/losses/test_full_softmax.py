import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops

from keras_t4r.losses import softmax_cross_entropy
from keras_t4r.losses.products import blocks, cross_entropy, tiled_softmax

pytestmark = pytest.mark.backends
CHUNKS = ["none", "targets", "items"]


def plain(hidden, table, bias, targets, weights, smoothing):
    z = hidden.astype("float64") @ table.T + bias
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    wanted = np.full_like(z, smoothing / z.shape[1])
    wanted[np.arange(len(z)), targets] += 1 - smoothing
    return -(weights[:, None] * wanted * log_p).sum()


def example(rows=37, items=50, dim=8):
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(rows, dim)).astype("float32"),
        rng.normal(size=(items, dim)).astype("float32"),
        rng.normal(size=items).astype("float32"),
        rng.integers(0, items, rows).astype("int32"),
        (rng.random(rows) < 0.7).astype("float32"),
    )


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    # 50 items: blocks of at most 16 rows, so 37 rows make three; and four chunks of 16
    # items, the last of which reaches back.
    monkeypatch.setattr(blocks, "BLOCK_LOGITS", 800)
    monkeypatch.setattr(tiled_softmax, "TILE_LOGITS", 256)
    monkeypatch.setattr(tiled_softmax, "TILE_ITEMS", 16)


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_equals_its_equation(chunks, smoothing):
    arrays = example()
    tensors = map(ops.convert_to_tensor, arrays)
    loss = softmax_cross_entropy(*tensors, label_smoothing=smoothing, chunks=chunks)
    assert float(loss) == pytest.approx(plain(*arrays, smoothing), rel=1e-5)


@pytest.mark.parametrize("chunks", CHUNKS[1:])
@pytest.mark.parametrize("rows", [0, 1, 16, 37])
def test_chunks_change_neither_loss_nor_gradients(rows, chunks):
    if rows == 0 and keras.backend.backend() == "jax":
        pytest.skip("shapes are fixed on JAX: a batch without targets has rows too")
    arrays = example(rows=max(rows, 1))
    arrays = [a[:rows] if i in (0, 3, 4) else a for i, a in enumerate(arrays)]
    for a, b in zip(gradients(arrays, "none"), gradients(arrays, chunks), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_large_scores_of_all_signs_overflow_nowhere():
    hidden, *others = example()
    arrays = (hidden * 300, *others)
    for a, b in zip(gradients(arrays, "none"), gradients(arrays, "items"), strict=True):
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2)


def test_a_filter_leaves_out_what_is_negligible():
    arrays = example()
    exact = gradients(arrays, "items")
    filtered = gradients(arrays, "items", 1e-6)
    for a, b in zip(exact, filtered, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    # Where all is filtered, the targets' own part is left.
    arrays = (arrays[0] * 0.1, *arrays[1:])
    loss, hidden, *_ = gradients(arrays, "items", 0.9999)
    assert loss == pytest.approx(gradients(arrays, "none")[0], rel=1e-5)
    weights, of_targets = arrays[4][:, None], arrays[1][arrays[3]]
    np.testing.assert_allclose(hidden, -weights * of_targets, rtol=1e-5)


def test_rows_that_are_no_targets_have_no_say_in_a_filter():
    hidden, table, bias, targets, weights = example()
    weights[0] = 0.0
    arrays = (hidden * 0.1, table, bias, targets, weights)
    without = gradients(arrays, "items", 0.9)
    # This one's own probabilities are large.
    arrays[0][0] = 100 * table[targets[0]]
    for a, b in zip(gradients(arrays, "items", 0.9), without, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.backends("torch")
def test_a_filter_makes_chunks_of_items_where_none_are_asked_for():
    arrays = example()
    chosen, filtered = (gradients(arrays, c, 0.9) for c in (None, "items"))
    for a, b in zip(chosen, filtered, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(chosen[1] - gradients(arrays, None)[1]).max() > 1e-3
    with pytest.raises(ValueError, match="leaves out chunks of items"):
        gradients(arrays, "none", 0.9)


def test_chunks_are_chosen_by_the_catalogue(monkeypatch):
    monkeypatch.undo()
    chosen = [cross_entropy.chosen_chunks(n) for n in (19_999, 20_000, 1_000_000)]
    assert chosen == CHUNKS


def gradients(arrays, chunks, filter_below=0.0):
    """Loss, and its gradients by hidden, table and bias."""
    hidden, table, bias, targets, weights = arrays

    def loss_of(*tensors):
        return softmax_cross_entropy(
            *tensors, targets, weights, chunks=chunks, filter_below=filter_below
        )

    return value_and_gradients(loss_of, (hidden, table, bias))
