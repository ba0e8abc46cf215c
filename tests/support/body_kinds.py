"""What the tests know of each architecture. A new body gets its entry here."""

import collections.abc
import dataclasses

from keras_t4r.bodies import session_config

WIDTH = 32


def _no_direction(config, causal):
    if causal is not None:
        raise AssertionError("this test cannot tell the reference its direction")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the tests need to know of an architecture.

    Attributes:
        reference: string. Name of the PyTorch model in `transformers`; `None` where
            there is none, and the body has a parity test of its own.
        variants: dict. Name of a variant to the options of its config and `causal`.
        refused: list of `(option, value)` that the body must refuse.
        directions: tuple of bool. What `causal` may be.
        small: dict. Fields that the small config of the tests has besides sizes.
        limited: bool. Whether it has a number of positions, of which the small config
            has 32.
        turn: function. Tells the reference's config which direction `causal` means,
            where that is no field that the body reads as well.
    """

    reference: str | None = None
    variants: dict = dataclasses.field(default_factory=lambda: {"default": ({}, None)})
    refused: tuple = ()
    directions: tuple = (True, False)
    small: dict = dataclasses.field(default_factory=dict)
    limited: bool = True
    turn: collections.abc.Callable = _no_direction


def _as_decoder(config, causal):
    if causal is not None:
        config.is_decoder = causal


def _as_gpt2(config, causal):
    if causal is not None:
        config.is_causal = causal


KINDS = {
    "xlnet": Kind(
        "XLNetModel",
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
        limited=False,
        # Its "uni" cannot take a mask for a batch, but is "bi" with a permutation,
        # which the parity test hands to it.
        turn=lambda config, causal: None,
    ),
    "gpt2": Kind(
        "GPT2Model",
        variants={
            "default": ({}, None),
            "bidirectional": ({}, False),
            "unscaled": ({"scale_attn_weights": False, "n_inner": 48}, None),
            "by-layer": ({"scale_attn_by_inverse_layer_idx": True}, None),
            "upcast": ({"reorder_and_upcast_attn": True}, None),
            "silu": ({"activation_function": "silu"}, None),
        },
        refused=(("add_cross_attention", True),),
        turn=_as_gpt2,
    ),
    "bert": Kind(
        "BertModel",
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
        turn=_as_decoder,
    ),
}


def small_config(kind, dropout=0.0, **options):
    """A config of width 32 and two layers, whose initial weights are large."""
    sizes = {"d_model": WIDTH, "n_head": 4, "n_layer": 2, "max_length": 31}
    fields = {"initializer_range": 0.3, **KINDS[kind].small, **options}
    return session_config(kind, dropout=dropout, **{**sizes, **fields})
