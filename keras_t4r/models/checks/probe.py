"""Tries out what a model cannot know of layers that are not the package's own."""

import keras
import numpy as np
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.layers.context.context_features import ContextFeatures
from keras_t4r.layers.context.context_fusion import ContextFusion
from keras_t4r.layers.context.context_token import ContextToken
from keras_t4r.layers.context.drop_context_token import DropContextToken
from keras_t4r.layers.heads.next_item_head import NextItemHead
from keras_t4r.layers.keep_mask import KeepMask
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.layers.transformer_block import TransformerBlock
from keras_t4r.models.graph import graphs_of, layers_of, nodes_of, schemes_before
from keras_t4r.models.mask_repair import is_event_by_event

_EVENTS = 6
# What may move by rounding, of what moves where it should.
_ROUNDING = 1e-3
_SAFE = (
    ContextFeatures,
    ContextFusion,
    ContextToken,
    DropContextToken,
    KeepMask,
    MaskingScheme,
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.InputLayer,
    keras.layers.LayerNormalization,
)


def probe(model, schema, max_history):
    """Raises `ValueError` where a head's input sees what it must not see.

    Two things are tried on a random session, where layers that the package does not
    know stand before a head. With a causal scheme, changing later events must change
    nothing earlier; and padding must change nothing.

    Args:
        model: functional model.
        schema: `Schema` of its inputs, or `None`.
        max_history: int. The most events that the model reads.
    """
    everywhere = [x for x in layers_of(model) if isinstance(x, MaskingScheme)]
    events = min(_EVENTS, max_history)
    if not everywhere or events < 2:
        return
    for graph in graphs_of(model):
        for head, x in _heads(graph):
            if not _is_known(x):
                causal = all(s.causal for s in schemes_before(x) or everywhere)
                encoder = keras.Model(graph.inputs, x)
                _try(encoder, head, schema, events, causal)


def _heads(graph):
    """`(head, x)` for each call of a head in the graph: its layer and its input."""
    for node in nodes_of(graph):
        if isinstance(node.operation, NextItemHead):
            yield node.operation, node.input_tensors[0]


def _is_known(x):
    """Whether the package knows all that lies between a scheme and `x`."""
    waiting, seen = [x], set()
    while waiting:
        tensor = waiting.pop()
        operation, node_index, _ = tensor._keras_history
        if id(tensor) in seen or isinstance(operation, MaskingScheme):
            continue
        seen.add(id(tensor))
        body = getattr(operation, "body", None)
        block = isinstance(operation, TransformerBlock) and isinstance(body, Body)
        if not (block or isinstance(operation, _SAFE) or is_event_by_event(operation)):
            return False
        waiting.extend(operation._inbound_nodes[node_index].input_tensors)
    return True


def _try(encoder, head, schema, events, causal):
    half = events // 2
    rng = np.random.default_rng(0)
    one = _session(encoder, schema, events, rng)
    if one is None:
        return
    if causal:
        other = _from(half, one, _session(encoder, schema, events, rng))
        earlier, later = _moves(_run(encoder, one), _run(encoder, other), half)
        if not earlier <= _ROUNDING * later:
            raise ValueError(
                f"A layer before {head.name!r} looks ahead: changing an event changed "
                f"the output of earlier ones by {earlier:.2g}. With "
                "CausalLanguageModeling every position would see its own target. Make "
                "that layer causal (use_causal_mask=True, no bidirectional layer), or "
                "take a two-way scheme. compile(probe=False) leaves the test out."
            )
    if schema is None or schema.item_id not in one:
        return
    padded = _from(half, one, {k: np.zeros_like(v) for k, v in one.items()})
    cut = {k: v[:, :half] if _over_time(v) else v for k, v in one.items()}
    short, long = _run(encoder, cut), _run(encoder, padded)
    moved = np.abs(long[:, : short.shape[1]] - short).max()
    if not moved <= _ROUNDING * np.abs(short).max():
        raise ValueError(
            f"A layer before {head.name!r} sees padding: padding a session changed its "
            f"outputs by {moved:.2g}. The mask was lost on the way: put "
            "keras_t4r.KeepMask()(x, y) behind the layer that drops it, or hand it on "
            "with supports_masking. compile(probe=False) leaves the test out."
        )


def _session(encoder, schema, events, rng):
    """Random inputs of one session; `None` where the encoder wants fewer events."""
    x = {}
    for tensor in encoder.inputs:
        name = tensor.name
        shape = (2, *(events if n is None else n for n in tensor.shape[1:]))
        if len(shape) > 1 and shape[1] < events:
            return None
        if "int" in tensor.dtype:
            known = schema is not None and name in schema
            low, high = (
                (schema[name].first_id, schema[name].cardinality) if known else (1, 2)
            )
            x[name] = rng.integers(low, high, shape).astype(tensor.dtype)
        else:
            x[name] = rng.normal(size=shape).astype("float32")
    return x


def _from(start, one, other):
    """`one` up to `start`, and from there `other`."""
    return {
        k: np.concatenate([v[:, :start], other[k][:, start:]], axis=1)
        if _over_time(v)
        else v
        for k, v in one.items()
    }


def _over_time(value):
    return value.ndim > 1


def _run(encoder, x):
    tensors = [ops.convert_to_tensor(x[t.name]) for t in encoder.inputs]
    y = encoder(tensors, training=False)
    return ops.convert_to_numpy(ops.cast(y, "float32"))


def _moves(one, other, half):
    moved = np.abs(one - other)
    return moved[:, :half].max(), moved[:, half:].max()
