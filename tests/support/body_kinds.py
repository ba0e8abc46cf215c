"""What the tests know of each architecture. A new body gets its entry here."""

import collections.abc
import dataclasses

import keras

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
        d_input: int. Width of the events in the small config, where an architecture
            lets it differ from that of the output; elsewhere `None`.
        layers: int. How many it takes for all that it does to show.
        heads: bool. Whether it has attention heads.
        limited: bool. Whether it has a number of positions, of which the small config
            has 32.
        widening: int. How many times as wide as its input the output is.
        pairwise: bool. Whether the reference is told that it is causal by a mask of
            every pair of positions, as its config cannot say it.
        turn: function. Tells the reference's config which direction `causal` means,
            where that is no field that the body reads as well.
    """

    reference: str | None = None
    variants: dict = dataclasses.field(default_factory=lambda: {"default": ({}, None)})
    refused: tuple = ()
    directions: tuple = (True, False)
    small: dict = dataclasses.field(default_factory=dict)
    d_input: int | None = None
    layers: int = 1
    heads: bool = True
    limited: bool = True
    widening: int = 1
    pairwise: bool = False
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
    "roberta": Kind(
        "RobertaModel",
        variants={
            "default": ({}, None),
            "decoder": ({"is_decoder": True}, None),
            "pad": ({"pad_token_id": 4}, None),
        },
        refused=(("position_embedding_type", "relative_key_query"),),
        small={"initializer_range": 0.2},
        turn=_as_decoder,
    ),
    "albert": Kind(
        "AlbertModel",
        variants={
            "factorised": ({}, None),
            "causal": ({}, True),
            "one-width": ({"embedding_size": WIDTH}, None),
            "groups": (
                {"num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2},
                None,
            ),
        },
        refused=(("position_embedding_type", "relative_key"), ("is_decoder", True)),
        small={"initializer_range": 0.2},
        d_input=24,
        pairwise=True,
        turn=lambda config, causal: None,
    ),
    "electra": Kind(
        "ElectraModel",
        variants={
            "factorised": ({}, None),
            "decoder": ({"is_decoder": True}, None),
            "one-width": ({"embedding_size": WIDTH}, None),
        },
        refused=(("position_embedding_type", "relative_key"),),
        small={"initializer_range": 0.2},
        d_input=24,
        turn=_as_decoder,
    ),
    "longformer": Kind(
        "LongformerModel",
        variants={
            "default": ({}, None),
            "narrow": ({"attention_window": 4}, None),
            # The reference cannot do a window of 2.
            "by-layer": ({"attention_window": [4, 8]}, None),
        },
        refused=(
            ("is_decoder", True),
            ("attention_window", 5),
            ("attention_window", 0),
            ("attention_window", [4, 4, 4]),
        ),
        # In short sessions every event sees every other.
        small={"attention_window": 16, "initializer_range": 0.2},
    ),
    "llama": Kind(
        "LlamaModel",
        variants={
            "default": ({}, None),
            "bidirectional": ({}, False),
            "shared-keys": ({"num_key_value_heads": 2, "head_dim": 6}, None),
            "biased": ({"attention_bias": True, "mlp_bias": True}, None),
            "gelu": ({"hidden_act": "gelu", "intermediate_size": 40}, None),
            "linear": (
                {
                    "rope_parameters": {
                        "rope_type": "linear",
                        "rope_theta": 500.0,
                        "factor": 3.0,
                    }
                },
                None,
            ),
            # Of its four frequencies one is kept, one between, two slowed down.
            "llama3": (
                {
                    "rope_parameters": {
                        "rope_type": "llama3",
                        "rope_theta": 100.0,
                        "factor": 8.0,
                        "low_freq_factor": 1.0,
                        "high_freq_factor": 4.0,
                        "original_max_position_embeddings": 28,
                    }
                },
                None,
            ),
        },
        refused=(
            ("rope_parameters", {"rope_type": "yarn", "factor": 4.0}),
            ("rope_parameters", {"rope_type": "default", "partial_rotary_factor": 0.5}),
            ("head_dim", 5),
            ("num_key_value_heads", 3),
            ("add_cross_attention", True),
        ),
        limited=False,
        turn=_as_gpt2,
    ),
    "mistral": Kind(
        "MistralModel",
        variants={
            "window": ({"sliding_window": 3, "num_key_value_heads": 2}, None),
            "no-window": ({"sliding_window": None}, None),
            "bidirectional": ({"sliding_window": 3}, False),
        },
        refused=(("rope_parameters", {"rope_type": "dynamic"}),),
        limited=False,
        turn=_as_gpt2,
    ),
    "qwen2": Kind(
        "Qwen2Model",
        variants={
            "default": ({}, None),
            "windows": (
                {
                    "use_sliding_window": True,
                    "sliding_window": 4,
                    "max_window_layers": 1,
                    "num_key_value_heads": 1,
                },
                None,
            ),
        },
        refused=(
            ("layer_types", ["chunked_attention", "full_attention"]),
            # The config forgets its window without use_sliding_window.
            ("layer_types", ["sliding_attention", "full_attention"]),
        ),
        limited=False,
        turn=_as_gpt2,
    ),
    "qwen3": Kind(
        "Qwen3Model",
        variants={
            "default": ({}, None),
            "wide-heads": (
                {
                    "head_dim": 12,
                    "num_key_value_heads": 2,
                    "attention_bias": True,
                    "use_sliding_window": True,
                    "sliding_window": 4,
                    "layer_types": ["sliding_attention", "full_attention"],
                },
                None,
            ),
        },
        refused=(("layer_types", ["linear_attention", "full_attention"]),),
        limited=False,
        turn=_as_gpt2,
    ),
    "modernbert": Kind(
        "ModernBertModel",
        variants={
            "default": ({}, None),
            "local": ({"local_attention": 5, "num_hidden_layers": 4}, None),
            "biased": (
                {"attention_bias": True, "mlp_bias": True, "norm_bias": True},
                None,
            ),
            # Its mask of pairs goes before the reference's windows.
            "causal": ({"local_attention": 80}, True),
            "thetas": (
                {
                    "rope_parameters": {
                        "full_attention": {"rope_theta": 50.0},
                        "sliding_attention": {
                            "rope_type": "linear",
                            "rope_theta": 9.0,
                            "factor": 2.0,
                        },
                    },
                    "hidden_activation": "silu",
                },
                None,
            ),
        },
        refused=(
            ("layer_types", ["chunked_attention", "full_attention"]),
            (
                "rope_parameters",
                {"full_attention": {"rope_type": "default", "rope_theta": 9.0}},
            ),
            ("rope_parameters", {"full_attention": {"rope_type": "default"}}),
        ),
        layers=2,
        limited=False,
        pairwise=True,
        turn=lambda config, causal: None,
    ),
    "sasrec": Kind(small={"initializer_range": 0.2}),
    "gru": Kind(directions=(True,), heads=False, limited=False),
    "hstu": Kind(small={"initializer_range": 0.15}),
    "transfo-xl": Kind(
        refused=(("mem_len", 8), ("same_length", True), ("attn_type", 1)),
        limited=False,
    ),
    # Within one chunk all see all. Its tests of chunks are its own.
    "reformer": Kind(
        refused=(
            ("attn_layers", ["local", "full"]),
            ("num_hidden_layers", 3),
            ("num_buckets", 7),
            ("num_buckets", [4, 3]),
            ("lsh_attn_chunk_length", 0),
            ("chunk_size_feed_forward", 8),
        ),
        small={"local_attn_chunk_length": 32, "lsh_attn_chunk_length": 32},
        layers=2,
        widening=2,
    ),
}


DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "sasrec", "gru", "hstu")
# One of each sort: JAX and PyTorch run these, TensorFlow all.
SORTS = ("gpt2", "bert", "xlnet", "llama", "longformer", "reformer", "gru", "hstu")


def kinds_to_run():
    """The kinds that tests run over, on the backend that runs."""
    return list(KINDS) if keras.backend.backend() == "tensorflow" else list(SORTS)


def directions_to_run(kind):
    """The directions of a kind that tests run over: JAX, which compiles each anew,
    takes the one that the kind is mostly used in."""
    directions = KINDS[kind].directions
    if keras.backend.backend() != "jax" or len(directions) == 1:
        return directions
    return (kind in DECODERS,)


def lengths_to_run(lengths):
    """The lengths that a test goes through: JAX compiles anew for each, so there it
    takes every third and the last."""
    if keras.backend.backend() != "jax":
        return list(lengths)
    return sorted({*lengths[::3], lengths[-1]})


def small_config(kind, dropout=0.0, **options):
    """A config of width 32 and two layers, whose initial weights are large."""
    sizes = {"d_model": WIDTH, "n_head": 4, "n_layer": 2, "max_length": 31}
    if KINDS[kind].d_input:
        sizes["embedding_size"] = KINDS[kind].d_input
    fields = {"initializer_range": 0.3, **KINDS[kind].small, **options}
    return session_config(kind, dropout=dropout, **{**sizes, **fields})
