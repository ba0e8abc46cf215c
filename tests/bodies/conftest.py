"""Small bodies of each kind, and gradients on whichever backend runs."""

import collections.abc
import dataclasses

import keras
import numpy as np
import pytest
from keras import ops
from transformers import BertConfig, GPT2Config, XLNetConfig

from keras_t4r.bodies import make_body


def xlnet(**options):
    sizes = {"d_model": 32, "n_head": 4, "n_layer": 2, "d_inner": 64, "vocab_size": 9}
    return XLNetConfig(**{**sizes, "initializer_range": 0.3, "dropout": 0.0, **options})


def gpt2(**options):
    sizes = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 32}
    rates = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    special = {"vocab_size": 5, "bos_token_id": None, "eos_token_id": None}
    return GPT2Config(
        **{**sizes, **rates, **special, "initializer_range": 0.3, **options}
    )


def bert(**options):
    sizes = {
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
        "vocab_size": 5,
    }
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertConfig(**{**sizes, **rates, "initializer_range": 0.3, **options})


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the tests need to know of an architecture.

    Attributes:
        config: function. Makes a small config, width 32, without dropout, of options.
        reference: string. Name of the PyTorch model in `transformers`; `None` where
            there is none.
        dropout: dict. Options that make it drop out.
        variants: dict. Name of a variant to the options of its config and `causal`.
        refused: list of `(option, value)` that the body must refuse.
        positions: int. How many events it can take; `None`: any number.
        directions: tuple of bool. What `causal` may be.
    """

    config: collections.abc.Callable
    reference: str | None = None
    dropout: dict = dataclasses.field(default_factory=dict)
    variants: dict = dataclasses.field(default_factory=dict)
    refused: tuple = ()
    positions: int | None = None
    directions: tuple = (True, False)


KINDS = {
    "xlnet": Kind(
        xlnet,
        "XLNetModel",
        dropout={"dropout": 0.2},
        variants={
            "bi": ({}, None),
            "uni": ({"attn_type": "uni"}, None),
            "causal": ({}, True),
            "clamp": ({"clamp_len": 3}, None),
            "relu": ({"ff_activation": "relu", "d_inner": 40}, None),
            "odd": ({"d_model": 36, "n_head": 3}, None),
        },
        refused=(
            ("bi_data", True),
            ("same_length", True),
            ("use_mems_train", True),
            ("reuse_len", 4),
            ("untie_r", False),
            ("attn_type", "sideways"),
        ),
    ),
    "gpt2": Kind(
        gpt2,
        "GPT2Model",
        dropout={"embd_pdrop": 0.2, "attn_pdrop": 0.2, "resid_pdrop": 0.2},
        variants={
            "default": ({}, None),
            "bidirectional": ({}, False),
            "unscaled": ({"scale_attn_weights": False, "n_inner": 48}, None),
            "by-layer": ({"scale_attn_by_inverse_layer_idx": True}, None),
            "upcast": ({"reorder_and_upcast_attn": True}, None),
            "silu": ({"activation_function": "silu"}, None),
        },
        refused=(("add_cross_attention", True),),
        positions=32,
    ),
    "bert": Kind(
        bert,
        "BertModel",
        dropout={"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2},
        variants={
            "default": ({}, None),
            "decoder": ({"is_decoder": True}, None),
            "causal": ({}, True),
            "tanh-gelu": ({"hidden_act": "gelu_pytorch_tanh"}, None),
        },
        refused=(
            ("position_embedding_type", "relative_key"),
            ("chunk_size_feed_forward", 8),
        ),
        positions=32,
    ),
}


def pytest_generate_tests(metafunc):
    """Runs tests over all kinds, each direction, variants and refused options."""
    names = metafunc.fixturenames
    if "variant" in names:
        cases = [
            pytest.param((kind, *variant), id=f"{kind}-{name}")
            for kind, facts in KINDS.items()
            for name, variant in facts.variants.items()
        ]
        metafunc.parametrize("variant", cases)
    elif "refused" in names:
        cases = [(k, *case) for k, facts in KINDS.items() for case in facts.refused]
        metafunc.parametrize("refused", cases, ids=lambda c: "-".join(map(str, c)))
    elif {"kind", "causal"} <= set(names):
        cases = [
            pytest.param(k, c, id=f"{k}-{'causal' if c else 'bidirectional'}")
            for k, facts in KINDS.items()
            for c in facts.directions
        ]
        metafunc.parametrize(("kind", "causal"), cases)
    elif "limited_kind" in names:
        kinds = [k for k, facts in KINDS.items() if facts.positions]
        metafunc.parametrize("limited_kind", kinds)
    elif "kind" in names:
        metafunc.parametrize("kind", KINDS)


@pytest.fixture
def kinds():
    return KINDS


@pytest.fixture
def small_config():
    """`small_config(kind, **options)`: a small config."""
    return lambda kind, **options: KINDS[kind].config(**options)


@pytest.fixture
def body(kind, causal):
    """A built body whose weights, norms and biases included, are all random."""
    body = make_body(KINDS[kind].config(), causal=causal)
    body.build((None, None, body.d_input))
    randomise(body)
    return body


def randomise(body):
    random = np.random.default_rng(3)
    for variable in body.weights:
        if variable.dtype == "float32":
            noise = 0.1 * random.normal(size=variable.shape)
            variable.assign_add(noise.astype("float32"))


@pytest.fixture
def events():
    """`events(batch, time)`: vectors, and a mask with padding in any place."""

    def make(batch=5, time=9, seed=0):
        random = np.random.default_rng(seed)
        x = random.normal(size=(batch, time, 32)).astype("float32")
        mask = random.random((batch, time)) > 0.3
        mask[:, 0] = True
        return x, mask

    return make


@pytest.fixture
def apply():
    """`apply(layer, x, mask)`: outputs in inference as a NumPy array."""

    def outputs(layer, x, mask=None, training=False):
        if mask is not None:
            mask = ops.convert_to_tensor(mask)
        y = layer(ops.convert_to_tensor(x), mask=mask, training=training)
        return ops.convert_to_numpy(ops.cast(y, "float32"))

    return outputs


@pytest.fixture
def gradients():
    """`gradients(layer, x, mask, w)`: those of `sum(w · layer(x))`.

    Returns the gradient by `x`, and a list of `(variable, gradient)`.
    """

    def compute(layer, x, mask, w, training=False):
        by_x, by_variables = {
            "tensorflow": _tensorflow_gradients,
            "jax": _jax_gradients,
            "torch": _torch_gradients,
        }[keras.backend.backend()](layer, x, mask, w, training)
        by_variables = [ops.convert_to_numpy(g) for g in by_variables]
        pairs = list(zip(layer.trainable_variables, by_variables, strict=True))
        return ops.convert_to_numpy(by_x), pairs

    return compute


def _loss(y, w):
    return ops.sum(ops.cast(y, "float32") * w)


def _tensorflow_gradients(layer, x, mask, w, training):
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, mask=tf.constant(mask), training=training)
        loss = _loss(y, w)
    variables = [v.value for v in layer.trainable_variables]
    by_x, *rest = tape.gradient(loss, [x, *variables])
    return by_x, rest


def _jax_gradients(layer, x, mask, w, training):
    import jax

    fixed = [v.value for v in layer.non_trainable_variables]

    def loss(trainable, x):
        y, _ = layer.stateless_call(trainable, fixed, x, mask=mask, training=training)
        return _loss(y, w)

    trainable = [v.value for v in layer.trainable_variables]
    by_variables, by_x = jax.grad(loss, argnums=(0, 1))(trainable, x)
    return by_x, by_variables


def _torch_gradients(layer, x, mask, w, training):
    import torch

    x = torch.tensor(x, requires_grad=True)
    y = layer(x, mask=torch.tensor(mask), training=training)
    values = [v.value for v in layer.trainable_variables]
    by_x, *rest = torch.autograd.grad(_loss(y, torch.tensor(w)), [x, *values])
    return by_x, rest
