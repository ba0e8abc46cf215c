"""Puts masks back where Keras drops them between the layers of a graph."""

import keras

from keras_t4r.layers.keep_mask import KeepMask
from keras_t4r.models.graph import nodes_of

# Operations and layers that compute event by event, and drop or falsify the mask.
_EVENT_BY_EVENT = frozenset(
    "Abs Absolute Add Average Cast Clip Concatenate Divide DivideNoNan Elu Erf Exp "
    "Expm1 Gelu HardSigmoid HardSilu HardSwish HardTanh LeakyRelu Log Log1p LogSigmoid "
    "Maximum Minimum Multiply Negative NormalizeL2 Power RMSNormalization Reciprocal "
    "Relu Relu6 Rsqrt Selu Sigmoid Silu Softplus Softsign Sqrt Square Subtract Tanh "
    "TrueDivide Where".split()
)


def keep_masks(inputs, outputs):
    """The same outputs, with a `KeepMask` behind each operation that lost a mask.

    Args:
        inputs, outputs: of a functional model.

    Returns:
        `outputs`, as they are where no mask is lost.
    """
    plain = keras.Model(inputs, outputs)
    nodes = nodes_of(plain)
    if not any(_loses_mask(node) for node in nodes):
        return outputs
    # Keras wrote down the masks that it found itself as if they had been given: they
    # are left out, to be found again.
    found = {}
    for node in nodes:
        found.setdefault(id(node.operation), []).append(_masks_found(node))

    def call(operation, *args, **kwargs):
        of_all_calls = set.intersection(*found[id(operation)])
        kwargs = {k: v for k, v in kwargs.items() if k not in of_all_calls}
        y = operation(*args, **kwargs)
        if not is_event_by_event(operation):
            return y
        source = _masked_source(y, [args, kwargs])
        return y if source is None else KeepMask()(source, y)

    mended = keras.models.clone_model(
        plain,
        input_tensors=plain.input,
        clone_function=lambda operation: operation,
        call_function=call,
    )
    return mended.output


def is_event_by_event(operation):
    """Whether an operation computes each event's output from that event alone."""
    cls = type(operation)
    if cls.__name__ == "Concatenate" and operation.axis not in (-1, 2):
        # It joins sessions or events, and not what is known of each.
        return False
    return cls.__module__.startswith("keras.") and cls.__name__ in _EVENT_BY_EVENT


def _loses_mask(node):
    if not is_event_by_event(node.operation):
        return False
    arguments = [node.arguments.args, node.arguments.kwargs]
    return _masked_source(node.outputs[0], arguments) is not None


def _masks_found(node):
    """Names of the arguments of a call that are the masks of its other arguments."""
    arguments = [node.arguments.args, node.arguments.kwargs]
    masks = {
        id(x._keras_mask)
        for x in keras.tree.flatten(arguments)
        if isinstance(x, keras.KerasTensor) and _has_mask(x)
    }
    return {k for k, v in node.arguments.kwargs.items() if id(v) in masks}


def _masked_source(y, arguments):
    """An argument of `y`'s rank that carries a mask which `y` lacks."""
    if not isinstance(y, keras.KerasTensor) or len(y.shape) < 3:
        return None
    tensors = [
        x
        for x in keras.tree.flatten(arguments)
        if isinstance(x, keras.KerasTensor) and len(x.shape) == len(y.shape)
    ]
    masked = [x for x in tensors if _has_mask(x)]
    # A mask of some arguments only is falsified where they are joined.
    if not masked or (_has_mask(y) and len(masked) == len(tensors)):
        return None
    return masked[0]


def _has_mask(x):
    return getattr(x, "_keras_mask", None) is not None
