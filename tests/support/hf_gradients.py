"""Holds a body's gradients to those of Hugging Face's model."""

import numpy as np
import torch
from same_gradients import assert_same_gradients


def assert_gradients_of_hugging_face(body, reference, x, mask, gradients):
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
    found = gradients(body, x, mask, w)
    assert_same_gradients(body, found, leaf.grad.numpy(), expected)
