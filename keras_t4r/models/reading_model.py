import warnings
from dataclasses import replace

import keras
import numpy as np
from keras import ops

from keras_t4r.backend import build_optimizer
from keras_t4r.files import as_text
from keras_t4r.layers.context.context_features import ContextFeatures
from keras_t4r.layers.features.kept_vocabularies import KeepsVocabularies
from keras_t4r.layers.features.sequence_embedding_features import (
    SequenceEmbeddingFeatures,
)
from keras_t4r.layers.memory.transition_memory import TransitionMemory
from keras_t4r.models.checks.context_checks import check_contexts
from keras_t4r.models.checks.head_checks import check_heads
from keras_t4r.models.checks.scheme_checks import check_schemes
from keras_t4r.models.graph import (
    by_output,
    find_layers,
    head_of,
    layers_of,
    layers_of_several_graphs,
    output_names,
)
from keras_t4r.models.mask_repair import keep_masks


class ReadingModel(keras.Model):
    """What a `SessionModel` knows of its inputs and outputs, and what a file keeps.

    Args:
        inputs: dict of `keras.Input`.
        outputs: tensor, list or dict of tensors.
        name: string.
    """

    # By its signature Keras knows a model that its graph describes whole. This is the
    # one that all versions take for such: 3.12 no other, later ones also with names.
    def __init__(self, *args, **kwargs):
        inputs, outputs, kwargs = _bound(*args, **kwargs)
        with warnings.catch_warnings():
            # `Schema.inputs` names them otherwise where TensorFlow wants it.
            warnings.filterwarnings("ignore", "When providing `inputs` as a dict")
            super().__init__(inputs, keep_masks(inputs, outputs), **kwargs)
        check_schemes(self)
        check_contexts(self)
        if self._find_features() is not None:
            check_heads(self.heads, self.schema)

    # Outputs

    @property
    def heads(self):
        """Dict of output name to `NextItemHead`, of those outputs that are of one."""
        tensors = by_output(self._names, self.output)
        found = {name: head_of(tensor) for name, tensor in tensors.items()}
        return {name: head for name, head in found.items() if head is not None}

    @property
    def _names(self):
        return output_names(self)

    # Inputs

    def _find_features(self):
        for layer in layers_of(self):
            if isinstance(layer, SequenceEmbeddingFeatures):
                return layer
        return None

    def _read(self):
        """`(schema, max_history)`, as far as they are known."""
        features = self._find_features()
        if features is None:
            return None, 8
        return self.schema, self.max_history

    @property
    def features(self):
        """The layer that embeds the inputs."""
        features = self._find_features()
        if features is None:
            raise ValueError(
                "The model has no SequenceEmbeddingFeatures, so the columns of its "
                "inputs are not known."
            )
        return features

    @property
    def memory(self):
        """The `TransitionMemory` among the layers, or `None`."""
        found = find_layers(self, TransitionMemory)
        return found[0] if found else None

    @property
    def schema(self):
        """The schema of the model's inputs: the columns of the events, then those of
        `ContextFeatures` that are not among them."""
        columns = [c for layer in self._embedding_layers() for c in layer.schema]
        return replace(self.features.schema, columns=tuple(columns))

    def _embedding_layers(self):
        contexts = [x for x in layers_of(self) if isinstance(x, ContextFeatures)]
        return [self.features, *contexts]

    def vocabulary(self, name):
        """The `Vocabulary` of a column of the inputs, or `None` where it has none.

        Raises:
            ValueError: there is no such column; or it has one, but the model was made
                from a config in a process that does not hold it.
        """
        self.schema[name]
        layers = [x for x in self._embedding_layers() if name in x.schema]
        found = [layer.vocabulary(name) for layer in layers]
        return next((v for v in found if v is not None), None)

    @property
    def max_history(self):
        """The most events that an answer is computed from.

        One less than the longest session of the training data: the event that
        comes next takes the last place.
        """
        return max(1, self.features.max_length - 1)

    def newest(self, inputs, values=None):
        """Cuts right-padded sessions to their newest `max_history` events.

        Columns that the schema does not name, and those of one value a session, are
        handed on as they are.

        Args:
            inputs: dict of column to tensor.
            values: dict of tensors `(batch, time, …)`, a value an event of the inputs,
                to be cut in their place.
        """
        item_ids = ops.convert_to_tensor(inputs[self.schema.item_id])
        time, width = self.max_history, ops.shape(item_ids)[1]
        # PyTorch's Keras takes no dict of tensors and arrays.
        given = inputs if values is None else values
        tensors = {name: ops.convert_to_tensor(x) for name, x in given.items()}
        if isinstance(width, int):
            if width <= time:
                return tensors
            width = time
        else:
            width = ops.minimum(width, time)
        real = ops.not_equal(item_ids, 0)
        length = ops.sum(ops.cast(real, "int32"), axis=1, keepdims=True)
        shift = ops.maximum(length - time, 0)
        index = ops.arange(width, dtype="int32")[None, :] + shift
        lists = {c.name for c in self.schema if c.is_list} if values is None else given

        def cut(x):
            # The index has as many axes as what it is taken from.
            axes = tuple(range(2, len(x.shape)))
            return ops.take_along_axis(x, ops.expand_dims(index, axes), axis=1)

        return {name: cut(x) if name in lists else x for name, x in tensors.items()}

    # Files

    def save(self, filepath, *args, **kwargs):
        """Saves as `keras.Model.save` does, in Keras's own format.

        Raises:
            TypeError: `filepath` is no path.
            ValueError: the path asks for HDF5, which holds no vocabularies; or a layer
                is called in the model and in one nested in it, too: Keras would save
                it with both, and could not load the file.
        """
        filepath = as_text(filepath, "a model", home=False)
        if filepath.endswith((".h5", ".hdf5")):
            raise ValueError(
                f"A SessionModel is saved as .keras, not as {filepath}: HDF5 holds "
                "neither its vocabularies nor the state of its random generators. "
                "save_weights takes .weights.h5."
            )
        shared = [layer.name for layer in layers_of_several_graphs(self)]
        if shared:
            raise ValueError(
                f"The layers {shared} are called in more than one model, this one or "
                "those nested in it, and Keras could not load them from the file: call "
                "each within one model only, or save the weights (save_weights)."
            )
        # So that a model that is saved before it was fit comes back whole.
        build_optimizer(self)
        return super().save(filepath, *args, **kwargs)

    def save_weights(self, filepath, *args, **kwargs):
        """Saves as `keras.Model.save_weights` does.

        Raises:
            TypeError: `filepath` is no path.
            ValueError: there can be no such path.
        """
        filepath = as_text(filepath, "weights", home=False)
        return super().save_weights(filepath, *args, **kwargs)

    def load_weights(self, filepath, *args, **kwargs):
        """Loads as `keras.Model.load_weights` does.

        Raises:
            TypeError: `filepath` is no path.
            ValueError: the weights are of another model, or of one with another
                vocabulary, or whose numbers were standardised otherwise. The model is
                as before then.
        """
        filepath = as_text(filepath, "weights", home=False)
        optimizer = getattr(self, "optimizer", None)
        variables = [*self.variables, *(optimizer.variables if optimizer else ())]
        before = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
        try:
            found = super().load_weights(filepath, *args, **kwargs)
            for layer in find_layers(self, KeepsVocabularies):
                layer.check_loaded()
            return found
        except Exception:
            # Keras loads all layers that it can before it raises.
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            raise

    # The states of random generators, which Keras's weights files leave out: with them
    # a run that `BackupAndRestore` takes up goes on as if it had never stopped.

    def _seeds(self):
        weights = {id(v) for v in self.non_trainable_weights}
        return [v for v in self.non_trainable_variables if id(v) not in weights]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for number, state in enumerate(self._seeds()):
            store[f"seed_{number}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store):
        held = {key: store[key] for key in store.keys()}
        for number, state in enumerate(self._seeds()):
            value = held.pop(f"seed_{number}", None)
            if value is not None:
                state.assign(value)
        super().load_own_variables(held)


def _bound(inputs, outputs, name=None, **kwargs):
    return inputs, outputs, {"name": name, **kwargs}
