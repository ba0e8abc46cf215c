"""Whether contexts stand where they may, and what they added is taken away."""

import keras

from keras_t4r.layers.context.context_fusion import ContextFusion
from keras_t4r.layers.context.context_token import ContextToken
from keras_t4r.layers.context.drop_context_token import DropContextToken
from keras_t4r.layers.heads.next_item_head import NextItemHead
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.models.graph import graphs_of, is_of_events, nodes_of, schemes_before


def check_contexts(model):
    """Raises `ValueError` where a head, or an output of events, reads other positions
    than the scheme's; or where a scheme's hidden events show in their contexts."""
    for graph in graphs_of(model):
        for node in nodes_of(graph):
            layer = node.operation
            if isinstance(layer, NextItemHead):
                _check_places(node.input_tensors[0], layer.name)
            elif isinstance(layer, ContextFusion):
                _check_sight(*node.input_tensors[:2], layer)
    for tensor in model.outputs:
        layer = tensor._keras_history.operation
        if is_of_events(tensor) and not isinstance(layer, NextItemHead):
            _check_places(tensor, layer.name)


def _check_sight(x, context, layer):
    hiding = [s for s in schemes_before(x) if not s.causal]
    if len(context.shape) == 3 and hiding and not schemes_before(context):
        raise ValueError(
            f"{layer.name!r} stands behind {type(hiding[0]).__name__} with a context "
            "an event: those of the hidden events would be seen. Put it before the "
            "scheme, which then hides the context too."
        )


def _check_places(tensor, name):
    """Walks back from a tensor to the scheme, and counts positions that were added."""
    # A tensor, how many tokens were dropped behind it, and the nested models entered.
    waiting, seen = [(tensor, 0, ())], set()
    while waiting:
        tensor, dropped, entered = waiting.pop()
        key = (id(tensor), dropped, tuple(map(id, entered)))
        if key in seen:
            continue
        seen.add(key)
        operation, node_index, index = tensor._keras_history
        if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
            node = operation._inbound_nodes[node_index]
            waiting.append((operation.outputs[index], dropped, (*entered, node)))
            continue
        if isinstance(operation, keras.layers.InputLayer):
            if entered:
                node = entered[-1]
                place = [id(x) for x in node.operation.inputs].index(id(tensor))
                waiting.append((node.input_tensors[place], dropped, entered[:-1]))
            continue
        before = operation._inbound_nodes[node_index].input_tensors
        if isinstance(operation, ContextToken):
            if not dropped:
                raise ValueError(
                    f"{name!r} reads events with the position of {operation.name!r} "
                    "among them, so each would be taken for the one after it: put "
                    "keras_t4r.DropContextToken()(x) behind the body."
                )
            dropped, before = dropped - 1, before[:1]
        elif isinstance(operation, DropContextToken):
            dropped += 1
        elif isinstance(operation, MaskingScheme):
            if dropped:
                raise ValueError(
                    f"A DropContextToken before {name!r} takes an event away: there is "
                    "no ContextToken between it and the scheme. Leave it out."
                )
            continue
        # Masks say which events there are, and not what they are.
        events = [x for x in before if x.dtype != "bool"]
        waiting.extend((x, dropped, entered) for x in events)
