"""Reformer computes what Hugging Face's model computes with the same rotations."""

from unittest import mock

import numpy as np
import pytest
from body_kinds import small_config

from keras_t4r.bodies import load_hf_weights, make_body
from keras_t4r.bodies.reformer_config import chunk_lengths, default_num_buckets

torch = pytest.importorskip(
    "torch", reason="PyTorch, the reference of the bodies, is not installed"
)
from hf_gradients import assert_gradients_of_hugging_face  # noqa: E402

CHUNKS = {"local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4, "num_buckets": 4}
LOCAL = {"attn_layers": ["local", "local"], "local_attn_chunk_length": 3}
LSH = {"attn_layers": ["lsh", "lsh"]}
VARIANTS = {
    "one-chunk": ({}, None),
    "one-causal-chunk": ({"is_decoder": True}, None),
    "chunks": (CHUNKS, None),
    "one-round": ({**CHUNKS, "num_hashes": 1, "attention_head_size": 5}, None),
    "unlike-chunks": ({**CHUNKS, "lsh_attn_chunk_length": 6}, None),
    "wide-windows": (
        {
            **CHUNKS,
            "local_num_chunks_before": 3,
            "local_num_chunks_after": 1,
            "lsh_num_chunks_before": 2,
            "lsh_num_chunks_after": 2,
            "num_hashes": 3,
        },
        None,
    ),
    "no-window": (
        {**CHUNKS, "local_num_chunks_before": 0, "lsh_num_chunks_before": 0},
        None,
    ),
    "two-digits": ({**CHUNKS, **LSH, "num_buckets": [2, 4]}, None),
    "local": (LOCAL, None),
    "causal-local": (LOCAL, True),
    "axial": (
        {
            **CHUNKS,
            "axial_pos_embds": True,
            "axial_pos_shape": [4, 6],
            "axial_pos_embds_dim": [12, 20],
        },
        None,
    ),
}


class Reference:
    """Hugging Face's model, each row run alone, with the body's rotations.

    A row is cut after its last real event, and filled up as the model itself does
    out of training.
    """

    def __init__(self, config, causal):
        import transformers

        config = type(config)(**config.to_dict())
        config.use_cache = False
        config.vocab_size = 2
        if causal is not None:
            config.is_decoder = causal
        self.config = config
        torch.manual_seed(5)
        self.model = transformers.ReformerModel(config).eval()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        # What sees only itself scores -1e5, which float32 adds up to two digits.
        self.model.double()

    def weights(self):
        return {k: v.float().numpy() for k, v in self.model.state_dict().items()}

    def take_rotations(self, body):
        for layer, block in zip(self.model.encoder.layers, body.blocks, strict=True):
            if hasattr(block.attention, "rotations"):
                attention = layer.attention.self_attention
                _fix_rotations(attention, np.array(block.attention.rotations))

    def __call__(self, x, mask):
        rows = []
        for row, real in zip(x, mask, strict=True):
            length = np.flatnonzero(real)[-1] + 1
            more = 0
            if length > min(chunk_lengths(self.config)):
                more = -length % np.lcm.reduce(chunk_lengths(self.config))
            row = torch.nn.functional.pad(row[None, :length], (0, 0, 0, more))
            real = torch.tensor(np.pad(real[:length], (0, more)))[None].long()
            y = self.model(inputs_embeds=row, attention_mask=real)[0][0, :length]
            rows.append(torch.nn.functional.pad(y, (0, 0, 0, x.shape[1] - length)))
        return torch.stack(rows)


def _fix_rotations(attention, rotations):
    hash_vectors = attention._hash_vectors

    def with_fixed_rotations(*args, **kwargs):
        def randn(shape, **kwargs):
            assert tuple(shape) == rotations.shape
            return torch.tensor(rotations).double()

        with mock.patch.object(torch, "randn", randn):
            return hash_vectors(*args, **kwargs)

    attention._hash_vectors = with_fixed_rotations


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def pair(request):
    options, causal = request.param
    config = small_config("reformer", **options)
    reference = Reference(config, causal)
    body = make_body(config, causal=causal)
    body.build((None, None, body.d_input))
    load_hf_weights(body, reference.weights())
    reference.take_rotations(body)
    return body, reference


def events(time, batch=4):
    random = np.random.default_rng(time)
    x = random.normal(size=(batch, time, 32)).astype("float32")
    mask = random.random((batch, time)) > 0.3
    mask[:, 0] = True
    mask[0] = True
    return x, mask


def test_hidden_states_are_those_of_hugging_face(pair, apply):
    body, reference = pair
    for time in (1, 4, 7, 20):
        x, mask = events(time)
        with torch.no_grad():
            expected = reference(torch.tensor(x).double(), mask).numpy()
        y = apply(body, x, mask)
        np.testing.assert_allclose(y[mask], expected[mask], rtol=0, atol=1e-5)
        assert expected[mask].std(axis=0).mean() > 0.3


def test_no_padding_is_hugging_faces_batch(pair, apply):
    body, reference = pair
    for time in (7, 24):
        x, _ = events(time)
        with torch.no_grad():
            expected = reference.model(inputs_embeds=torch.tensor(x).double())[
                0
            ].numpy()
        np.testing.assert_allclose(apply(body, x), expected, rtol=0, atol=1e-5)


def test_gradients_are_those_of_hugging_face(pair, gradients):
    body, reference = pair
    x, mask = events(24)
    if body.config.axial_pos_embds:
        # In training, the reference takes sequences of one length.
        mask[:, -1] = True
    # It can go backwards in training only; there is no dropout.
    reference.model.train()
    assert_gradients_of_hugging_face(body, reference, x, mask, gradients)


def test_hugging_faces_causal_hashing_lets_later_events_change_earlier_outputs():
    # Why the body refuses it: sorting moves earlier events to other chunks.
    config = small_config("reformer", **{**CHUNKS, **LSH, "hash_seed": 1})
    reference = Reference(config, True)
    x = torch.tensor(events(20)[0]).double()
    changed = torch.cat([x[:, :-1], -x[:, -1:]], dim=1)
    mask = np.ones((4, 20), bool)
    with torch.no_grad():
        change = (reference(changed, mask) - reference(x, mask))[:, :-1]
    assert change.abs().max() > 0.1


@pytest.mark.parametrize(("positions", "chunk"), [(21, 8), (32, 4), (4096, 64)])
def test_the_number_of_buckets_is_hugging_faces_for_all_positions(positions, chunk):
    options = {"lsh_attn_chunk_length": chunk, "max_position_embeddings": positions}
    config = small_config("reformer", **LSH, **options, num_buckets=None)
    (layer, _) = Reference(config, None).model.encoder.layers
    layer.attention.self_attention._set_num_buckets(positions)
    wanted = layer.attention.self_attention.num_buckets
    assert default_num_buckets(positions, chunk) == wanted
    made = make_body(config).blocks[0].attention.num_buckets
    assert list(made) == (wanted if isinstance(wanted, list) else [wanted])
