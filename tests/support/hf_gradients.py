"""Holds a body's gradients to those of Hugging Face's model."""

import numpy as np
import torch

from keras_t4r.bodies.hf_weights import match_weights


def assert_same_gradients(body, reference, x, mask, gradients):
    """Compares the gradients of a weighted sum of the outputs at real positions.

    Args:
        body: the body, with the weights of the reference.
        reference: callable `(x, mask)` with the PyTorch module as `model`.
        x, mask: arrays.
        gradients: the fixture of that name.
    """
    w = np.random.default_rng(1).normal(size=(*mask.shape, body.d_model))
    w = (w * mask[..., None] / mask.sum()).astype("float32")

    dtype = next(reference.model.parameters()).dtype
    leaf = torch.tensor(x, dtype=dtype, requires_grad=True)
    (reference(leaf, mask) * torch.tensor(w)).sum().backward()
    expected = {
        name: (p.grad if p.grad is not None else torch.zeros_like(p)).numpy()
        for name, p in reference.model.named_parameters()
    }
    by_x, by_variables = gradients(body, x, mask, w)

    np.testing.assert_allclose(by_x, leaf.grad.numpy(), rtol=0, atol=1e-4)
    assert np.abs(by_x).max() > 1e-3
    wanted = {id(v): g for v, g in match_weights(body, expected)}
    assert len(wanted) == len(by_variables)
    for variable, gradient in by_variables:
        np.testing.assert_allclose(
            gradient, wanted[id(variable)], rtol=0, atol=1e-4, err_msg=variable.path
        )
        # A key's bias shifts all scores of a query alike: part of it has none.
        assert np.abs(gradient).max() > 1e-4, variable.path
