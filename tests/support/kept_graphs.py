"""Frees what TensorFlow keeps of the graphs of models that are gone."""

import keras


def forget_graphs():
    """Forgets the gradients that `custom_gradient` made for graphs.

    TensorFlow keeps each, and with it its graph, until the process ends: hundreds of
    models would take all memory. Models that live on must not be traced again.
    """
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework.ops import gradient_registry

        kept = gradient_registry._registry
        for name in [n for n in kept if str(n).startswith("CustomGradient-")]:
            del kept[name]
