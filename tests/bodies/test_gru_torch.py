"""The GRU body computes what `torch.nn.GRU` computes, and padding keeps its state."""

import numpy as np
import pytest
from same_gradients import assert_same_gradients

from keras_t4r.bodies import GRUConfig, load_hf_weights, make_body

WIDTH = 32


def make_gru(layers=2, **options):
    config = GRUConfig(
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        **{"initializer_range": 0.3, **options},
    )
    body = make_body(config)
    body.build((None, None, WIDTH))
    return body


@pytest.fixture(params=[1, 2, 3])
def pair(request):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is missing")
    torch.manual_seed(5)
    reference = torch.nn.GRU(WIDTH, WIDTH, request.param, batch_first=True)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(3)
    body = make_gru(request.param)
    weights = {k: v.numpy() for k, v in reference.state_dict().items()}
    load_hf_weights(body, weights)
    return body, reference


@pytest.mark.backends
@pytest.mark.parametrize("time", [1, 2, 7, 20])
def test_hidden_states_are_those_of_torch(pair, events, apply, time):
    import torch

    body, reference = pair
    x, _ = events(time=time)
    with torch.no_grad():
        expected = reference(torch.tensor(x))[0].numpy()
    np.testing.assert_allclose(apply(body, x), expected, rtol=0, atol=1e-5)
    assert expected.std(axis=0).mean() > 0.05


def test_gradients_are_those_of_torch(pair, events, gradients):
    import torch

    body, reference = pair
    x, mask = events()
    mask[:] = True
    w = np.random.default_rng(1).normal(size=x.shape).astype("float32") / mask.sum()
    leaf = torch.tensor(x, requires_grad=True)
    (reference(leaf)[0] * torch.tensor(w)).sum().backward()
    named = {name: p.grad.numpy() for name, p in reference.named_parameters()}
    found = gradients(body, x, mask, w)
    assert_same_gradients(body, found, leaf.grad.numpy(), named)


@pytest.mark.backends
def test_a_padded_step_keeps_the_state_wherever_it_stands(events, apply):
    x, mask = events(batch=8, time=9)
    mask[0] = False
    mask[1, :4] = False
    mask[2, 5:] = False
    mask[3] = [0, 1, 0, 0, 1, 1, 0, 1, 0]
    body = make_gru()
    y = apply(body, np.where(mask[..., None], x, 7.0), mask)
    for row, real in enumerate(mask):
        assert not y[row][~real].any()
        if real.any():
            alone = apply(body, x[row : row + 1, real])[0]
            np.testing.assert_allclose(y[row][real], alone, rtol=0, atol=1e-6)


def test_it_cannot_look_back_from_the_end():
    with pytest.raises(ValueError, match="reads a session from its first event"):
        make_body(GRUConfig(), causal=False)
    assert make_body(GRUConfig()).causal


def test_dropout_acts_on_the_outputs_of_every_layer(events, apply):
    x, mask = events()
    body = make_gru(1, dropout=0.5)
    dropped = apply(body, x, mask, training=True)[mask]
    assert 0.3 < (dropped == 0).mean() < 0.7


def test_a_number_of_heads_means_nothing():
    assert GRUConfig().num_attention_heads == 1
    with pytest.raises(TypeError, match="num_attention_heads"):
        GRUConfig(num_attention_heads=4)
    with pytest.raises(ValueError, match=r"GRUConfig\(dropout=1\.5\)"):
        GRUConfig(dropout=1.5)
