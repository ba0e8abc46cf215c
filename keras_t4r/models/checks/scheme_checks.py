"""Which schemes go with which bodies."""

from keras_t4r.layers.heads.generator_head import GeneratorHead
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.layers.transformer_block import TransformerBlock
from keras_t4r.models.graph import graphs_of, layers_of, nodes_of, schemes_before


def check_schemes(model):
    """Raises `ValueError` where a scheme and a body of a model do not go together.

    What it cannot know, bodies of the user's own, the probe of `fit` tries.
    """
    everywhere = [x for x in layers_of(model) if isinstance(x, MaskingScheme)]
    for graph in graphs_of(model):
        for node in nodes_of(graph):
            layer = node.operation
            if not isinstance(layer, (TransformerBlock, GeneratorHead)):
                continue
            before = [s for x in node.input_tensors for s in schemes_before(x)]
            # Before a nested body stand the schemes of the graph around it.
            for scheme in before or (everywhere if graph is not model else []):
                if isinstance(layer, GeneratorHead):
                    _check_replacements(scheme)
                else:
                    _check_direction(scheme, layer)
                    _check_streams(scheme, layer)


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
    if scheme.needs_two_streams and not block.two_streams:
        raise ValueError(
            f"{type(scheme).__name__} needs a body that is told what is visible, or "
            f"every position would see its own target: call {block.name!r} with the "
            "scheme's third output, visible=…."
        )


def _check_replacements(scheme):
    if scheme.causal:
        raise ValueError(
            "A GeneratorHead needs targets that are the events' own items: train it by "
            f"MaskedLanguageModeling, not by {type(scheme).__name__}."
        )
