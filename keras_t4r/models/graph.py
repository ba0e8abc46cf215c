"""What a functional model is made of, nested models included."""

import keras

from keras_t4r.layers.heads.next_item_head import NextItemHead
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme


def layers_of(model):
    """Every layer of a model, and of the models nested in it, each once."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found.update((id(inner), inner) for inner in layers_of(layer))
        found[id(layer)] = layer
    return list(found.values())


def find_layers(model, kind):
    """The layers of a class, of a model and of the models nested in it, each once."""
    return [layer for layer in layers_of(model) if isinstance(layer, kind)]


def graphs_of(model):
    """The model, and every functional model nested in it."""
    nested = [x for x in layers_of(model) if isinstance(x, keras.Model)]
    return [model, *(x for x in nested if getattr(x, "outputs", None))]


def layers_of_several_graphs(model):
    """Layers with weights that are called in more than one graph.

    The graphs are a model's own and those of the models nested in it. Inputs may be of
    several: they hold nothing.
    """
    found = {}
    for graph in graphs_of(model):
        for layer in {node.operation for node in nodes_of(graph)}:
            found.setdefault(layer, []).append(graph)
    layers = (x for x in found if isinstance(x, keras.layers.Layer) and x.weights)
    return [layer for layer in layers if len(found[layer]) > 1]


def nodes_of(model):
    """The calls that lead from a functional model's inputs to its outputs."""
    found, waiting = {}, list(model.outputs)
    while waiting:
        operation, node_index, _ = waiting.pop()._keras_history
        node = operation._inbound_nodes[node_index]
        if id(node) not in found:
            found[id(node)] = node
            waiting.extend(node.input_tensors)
    return list(found.values())


def output_names(model):
    """The outputs' names: a dict's keys, else the names of the layers they are of.

    Returns:
        A list; a dict's keys in their own order.

    Raises:
        ValueError: outputs are nested deeper, or two have the same name.
    """
    outputs = model.output
    if isinstance(outputs, dict):
        names = list(outputs)
        values = list(outputs.values())
    else:
        values = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        names = None
    if any(not isinstance(value, keras.KerasTensor) for value in values):
        raise ValueError(
            "The outputs of a SessionModel are a tensor, a list or a dict of tensors."
        )
    if names is None:
        names = [operation_of(value).name for value in values]
    if len(set(names)) < len(names):
        raise ValueError(
            f"Two outputs have the same name: {names}. Name them by a dict: "
            'SessionModel(inputs, {"next_item": …, "bought": …}).'
        )
    return names


def by_output(names, values):
    """A dict of name to value of what a model of these outputs returned."""
    if isinstance(values, dict):
        return {name: values[name] for name in names}
    if isinstance(values, (list, tuple)):
        return dict(zip(names, values, strict=True))
    return {names[0]: values}


def is_of_events(tensor):
    """Whether a symbolic output has a value an event: its second axis is free."""
    return len(tensor.shape) > 1 and tensor.shape[1] is None


def operation_of(tensor):
    """The layer or operation that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def head_of(tensor):
    """The `NextItemHead` whose scores a tensor holds, or `None`."""
    way = way_from_head(tensor)
    return way[-1] if way else None


def way_from_head(tensor):
    """The steps from a tensor of scores back to their head, the last; `[]` of others.

    Steps after the head take the scores as their first argument, so the way back leads
    through first arguments.
    """
    return [operation for operation, _, _ in calls_from_head(tensor)]


def calls_from_head(tensor):
    """As `way_from_head`, with what each step was called with.

    Returns:
        A list of `(operation, node, entered)`: the node is that of the call, and
        `entered` says in which models it stands, the outermost first, for `lifted`.
    """
    way, entered = [], []
    while True:
        operation, node_index, index = tensor._keras_history
        if isinstance(operation, keras.Model):
            entered.append((operation, node_index))
            tensor = operation.outputs[index]
            continue
        if isinstance(operation, keras.layers.InputLayer) and entered:
            # Of a nested model: on the way goes, from what it was called with.
            model, node_index = entered.pop()
            place = [id(x) for x in model.inputs].index(id(tensor))
            tensor = model._inbound_nodes[node_index].input_tensors[place]
            continue
        node = operation._inbound_nodes[node_index]
        way.append((operation, node, tuple(entered)))
        if isinstance(operation, NextItemHead):
            return way if index == 0 else []
        before = node.input_tensors
        if not before:
            return []
        tensor = before[0]


def lifted(tensor, entered):
    """A tensor of a nested model as one of the outermost model's graph.

    Args:
        tensor: `KerasTensor`.
        entered: as of `calls_from_head`.
    """
    if not entered:
        return tensor
    *outer, (model, node_index) = entered
    given = model._inbound_nodes[node_index].input_tensors
    return keras.Model(model.inputs, tensor)([lifted(x, outer) for x in given])


def schemes_before(tensor):
    """The masking schemes that a tensor comes from, the nearest on each way back."""
    found, waiting, seen = [], [tensor], set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, node_index, index = tensor._keras_history
        if isinstance(operation, MaskingScheme):
            found.append(operation)
        elif isinstance(operation, keras.Model) and operation.outputs:
            inside = schemes_before(operation.outputs[index])
            found.extend(inside)
            if not inside:
                waiting.extend(operation._inbound_nodes[node_index].input_tensors)
        else:
            waiting.extend(operation._inbound_nodes[node_index].input_tensors)
    return found
