import keras
import numpy as np
import pytest
from keras import ops

from keras_t4r.losses import blocks, softmax_cross_entropy

pytestmark = pytest.mark.backends


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


@pytest.mark.parametrize("blockwise", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_equals_its_equation(blockwise, smoothing, monkeypatch):
    small_blocks(monkeypatch)
    arrays = example()
    loss = softmax_cross_entropy(
        *map(ops.convert_to_tensor, arrays),
        label_smoothing=smoothing,
        blockwise=blockwise,
    )
    assert float(loss) == pytest.approx(plain(*arrays, smoothing), rel=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 16, 37])
def test_blocks_change_neither_loss_nor_gradients(rows, monkeypatch):
    if rows == 0 and keras.backend.backend() == "jax":
        pytest.skip("shapes are fixed on JAX: a batch without targets has rows too")
    small_blocks(monkeypatch)
    arrays = example(rows=max(rows, 1))
    arrays = [a[:rows] if i in (0, 3, 4) else a for i, a in enumerate(arrays)]
    whole = gradients(arrays, blockwise=False)
    blocks = gradients(arrays, blockwise=True)
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def small_blocks(monkeypatch):
    # 50 items: blocks of at most 16 rows, so 37 rows make three.
    monkeypatch.setattr(blocks, "BLOCK_LOGITS", 800)


def gradients(arrays, blockwise):
    """Loss, and its gradients by hidden, table and bias, on any backend."""
    hidden, table, bias, targets, weights = arrays

    def loss_of(h, t, b):
        return softmax_cross_entropy(h, t, b, targets, weights, blockwise=blockwise)

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            inputs = [tf.Variable(x) for x in (hidden, table, bias)]
            loss = loss_of(*[tf.convert_to_tensor(x) for x in inputs])
        grads = tape.gradient(loss, inputs)
    elif backend == "jax":
        import jax

        loss, grads = jax.value_and_grad(loss_of, (0, 1, 2))(hidden, table, bias)
    else:
        import torch

        inputs = [torch.tensor(x, requires_grad=True) for x in (hidden, table, bias)]
        loss = loss_of(*inputs)
        grads = torch.autograd.grad(loss, inputs)
    return [ops.convert_to_numpy(ops.convert_to_tensor(x)) for x in (loss, *grads)]
