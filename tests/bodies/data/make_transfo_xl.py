"""Makes transfo_xl.npz, with the Transformer-XL of transformers 4.35.2.

Newer versions have it no more. Beside torch, in an environment or folder of its own:

    pip install --no-deps --target old transformers==4.35.2 \
        tokenizers==0.15.2 huggingface_hub==0.20.3
    PYTHONPATH=old python tests/bodies/data/make_transfo_xl.py
"""

import pathlib

import numpy as np
import torch
from transformers.models.transfo_xl.configuration_transfo_xl import TransfoXLConfig
from transformers.models.transfo_xl.modeling_transfo_xl import TransfoXLModel

BATCH, TIME = 3, 7
# As in test_transfo_xl_golden.py.
VARIANTS = {
    "plain": {},
    "shared": {"untie_r": False, "clamp_len": 3},
    "pre": {"pre_lnorm": True, "d_head": 6, "clamp_len": 4},
}
SIZES = {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 12, "n_layer": 2}


def run(model, x, mask):
    """The model's forward pass, with a mask that it cannot be called with."""
    time = x.shape[1]
    pair = torch.ones(time, time).triu(1).bool()[None] | ~mask[:, None]
    distance = torch.arange(time - 1, -1, -1.0)
    if model.clamp_len > 0:
        distance = distance.clamp(max=model.clamp_len)
    encoding, y = model.pos_emb(distance), x.transpose(0, 1)
    for layer in model.layers:
        y = layer(y, encoding, dec_attn_mask=pair.permute(1, 2, 0))[0]
    return y.transpose(0, 1)


def golden(options, seed):
    torch.manual_seed(seed)
    config = TransfoXLConfig(
        **{**SIZES, "clamp_len": -1, **options},
        d_embed=16,
        vocab_size=3,
        cutoffs=[],
        div_val=1,
        mem_len=0,
        same_length=False,
        dropout=0.0,
    )
    model = TransfoXLModel(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(0.3 * torch.randn_like(p) + ("norm.weight" in name))
            # Half precision holds it, and so does a small file.
            p.copy_(p.half().float())
    x = torch.randn(BATCH, TIME, 16, requires_grad=True)
    mask = torch.rand(BATCH, TIME) > 0.3
    mask[:, 0] = True
    everything = torch.ones_like(mask)
    expected = model(inputs_embeds=x).last_hidden_state
    assert torch.equal(run(model, x, everything), expected)

    y = run(model, x, mask)
    w = torch.randn_like(y) * mask[..., None] / mask.sum()
    (y * w).sum().backward()
    arrays = {"x": x, "mask": mask, "y": y, "w": w, "gradient_x": x.grad}
    weights = {n: p for n, p in model.named_parameters() if "word_emb" not in n}
    arrays["gradients"] = torch.cat([p.grad.ravel() for p in weights.values()])
    arrays.update({f"weights/{n}": p.half() for n, p in weights.items()})
    return {k: v.detach().numpy() for k, v in arrays.items()}


if __name__ == "__main__":
    arrays = {}
    for seed, (variant, options) in enumerate(VARIANTS.items()):
        for name, array in golden(options, seed).items():
            arrays[f"{variant}/{name}"] = array
    path = pathlib.Path(__file__).with_name("transfo_xl.npz")
    np.savez_compressed(path, **arrays)
