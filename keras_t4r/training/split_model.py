"""A functional model as two: what comes before a layer, and what comes from it on."""

import keras


def split_at(model, layer):
    """Splits a model at the first input of one of its layers.

    Args:
        model: functional `keras.Model`. It may hold the layer in a functional model
            within it.
        layer: Keras layer that the model uses once, for one of its outputs.

    Returns:
        A pair of models that share the model's weights. The first goes from
        `model.inputs` to the tensor that the layer gets as its first argument; the
        second from a list, that tensor and `model.inputs`, to the output that comes
        from the layer.

    Raises:
        ValueError: the layer does not stand in the graph once, or several outputs come
            from it.
    """
    node = _only_call(model, layer)
    if node.operation is layer:
        given = node.input_tensors[0]
        middle, inputs = keras.Input(**_spec(given)), _fresh_inputs(model)
        known = {id(given): middle, **_by_id(model.inputs, inputs)}
        output = _called_anew(_only_output(model, layer, node), known)
        return _models(model, given, middle, inputs, output)
    return _split_within(model, node, layer)


def given_to(model, layer):
    """What a model gives to one of its layers.

    Args:
        model, layer: see `split_at`.

    Returns:
        A model that shares the model's weights, from `model.inputs` to a list of the
        tensors that the layer gets.

    Raises:
        ValueError: the layer does not stand in the graph once.
    """
    node = _only_call(model, layer)
    if node.operation is layer:
        return keras.Model(model.inputs, list(node.input_tensors))
    inner = given_to(node.operation, layer)
    return keras.Model(model.inputs, inner(keras.tree.flatten(node.arguments.args[0])))


def _only_call(model, layer):
    """The call of a layer in a graph, or that of the model within that has it."""
    nodes = _nodes(model)
    used = [node for node in nodes if node.operation is layer]
    if len(used) > 1:
        raise ValueError(
            f"{layer.name!r} is called {len(used)} times in the model; what to tune it "
            "on is clear only where it is called once."
        )
    if used:
        return used[0]
    for node in nodes:
        if isinstance(node.operation, keras.Model) and _holds(node.operation, layer):
            return node
    raise ValueError(
        f"{layer.name!r} does not stand in the graph of the model {model.name!r}, from "
        "its inputs to its outputs."
    )


def _split_within(model, node, layer):
    """Splits a model at a layer of the model that it calls at `node`."""
    inner = node.operation
    first, second = split_at(inner, layer)
    of_inner = keras.tree.flatten(node.arguments.args[0])
    given = first(of_inner)
    middle, inputs = keras.Input(**_spec(given)), _fresh_inputs(model)
    known = _by_id(model.inputs, inputs)
    found = second([middle, *(_called_anew(t, known) for t in of_inner)])
    place = [t is _only_output(inner, layer) for t in inner.outputs].index(True)
    known[id(node.output_tensors[place])] = found
    output = _called_anew(_only_output(model, layer, node), known)
    return _models(model, given, middle, inputs, output)


def _models(model, given, middle, inputs, output):
    before = keras.Model(model.inputs, given)
    # Keras 3.12 refuses inputs that nothing is made of.
    return before, keras.Model([middle, *inputs], _First()(output, *inputs))


class _First(keras.layers.Layer):
    """The first of its arguments."""

    def call(self, first, *others):
        return first


def _spec(tensor):
    return {"batch_shape": tensor.shape, "dtype": tensor.dtype}


def _fresh_inputs(model):
    return [keras.Input(**_spec(tensor)) for tensor in model.inputs]


def _by_id(tensors, values):
    return {id(t): value for t, value in zip(tensors, values, strict=True)}


def _called_anew(tensor, known):
    """A symbolic tensor as its calls give it on other tensors.

    Keras would do so for a model between tensors in the midst of a graph, but then it
    spoils the history of `keras.Input`s among them: such a model cannot be saved.

    Args:
        tensor: `KerasTensor`.
        known: dict of the id of a tensor to the one to take in its place. Those that
            are made are added.
    """
    if id(tensor) not in known:
        node = _node(tensor)
        args, kwargs = keras.tree.map_structure(
            lambda x: _called_anew(x, known) if _is_symbolic(x) else x,
            (node.arguments.args, node.arguments.kwargs),
        )
        made = keras.tree.flatten(node.operation(*args, **kwargs))
        known.update(_by_id(node.output_tensors, made))
    return known[id(tensor)]


def _is_symbolic(x):
    return isinstance(x, keras.KerasTensor)


def _node(tensor):
    """The call that a symbolic tensor is an output of."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def _only_output(model, layer, node=None):
    """The output of a model that comes from a node, or from a layer anywhere."""
    outputs = [
        output
        for output in model.outputs
        if any(
            n is node if node is not None else _calls(n, layer)
            for n in _nodes_of(output)
        )
    ]
    if len(outputs) != 1:
        raise ValueError(
            f"{len(outputs)} outputs of the model {model.name!r} come from "
            f"{layer.name!r}; what to rank is clear only where one does."
        )
    return outputs[0]


def _calls(node, layer):
    operation = node.operation
    return operation is layer or (
        isinstance(operation, keras.Model) and _holds(operation, layer)
    )


def _holds(model, layer):
    return any(
        own is layer or (isinstance(own, keras.Model) and _holds(own, layer))
        for own in model.layers
    )


def _nodes(model):
    """The calls that a functional model is made of."""
    outputs = getattr(model, "outputs", None)
    if not outputs:
        raise ValueError(
            f"The model {model.name!r} is not functional: what it computes before a "
            "layer cannot be told from what comes after."
        )
    return list({id(n): n for output in outputs for n in _nodes_of(output)}.values())


def _nodes_of(tensor):
    """The calls that a symbolic tensor comes from."""
    seen, open_tensors = {}, [tensor]
    while open_tensors:
        node = _node(open_tensors.pop())
        if id(node) not in seen:
            seen[id(node)] = node
            open_tensors.extend(node.input_tensors)
    return list(seen.values())
