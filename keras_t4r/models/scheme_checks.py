"""Which schemes go with which bodies."""

from keras_t4r.layers.heads.generator_head import GeneratorHead
from keras_t4r.layers.schemes.causal_language_modeling import CausalLanguageModeling
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.layers.schemes.permutation_language_modeling import (
    PermutationLanguageModeling,
)
from keras_t4r.layers.transformer_block import TransformerBlock


def check_schemes(layers):
    """Raises `ValueError` where a scheme and a body of a model do not go together.

    What it cannot know, bodies of the user's own, the probe of `fit` tries.
    """
    schemes = [layer for layer in layers if isinstance(layer, MaskingScheme)]
    blocks = [layer for layer in layers if isinstance(layer, TransformerBlock)]
    heads = [layer for layer in layers if isinstance(layer, GeneratorHead)]
    for scheme in schemes:
        if heads:
            _check_replacements(scheme)
        for block in blocks:
            _check_direction(scheme, block)
            _check_streams(scheme, block)


def _check_direction(scheme, block):
    if block.causal is None or block.causal == scheme.causal:
        return
    if scheme.causal:
        raise ValueError(
            f"{type(scheme).__name__} needs a causal body: {block.name!r} looks ahead, "
            "so every position would see its own target. Pass causal=True to its "
            "TransformerBlock."
        )
    raise ValueError(
        f"{type(scheme).__name__} needs a body that looks both ways: {block.name!r} is "
        "causal, so a hidden event would not see what follows it. Pass causal=False to "
        "its TransformerBlock."
    )


def _check_streams(scheme, block):
    if isinstance(scheme, PermutationLanguageModeling) and not block.two_streams:
        raise ValueError(
            f"{type(scheme).__name__} needs a body that is told what is visible, or "
            f"every position would see its own target: call {block.name!r} with the "
            "scheme's third output, visible=…."
        )


def _check_replacements(scheme):
    if isinstance(scheme, CausalLanguageModeling):
        raise ValueError(
            "A GeneratorHead needs targets that are the events' own items: train it by "
            "MaskedLanguageModeling, not by CausalLanguageModeling."
        )
