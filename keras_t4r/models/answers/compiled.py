"""Functions of a model's batches, compiled as Keras compiles `predict`."""

import keras
import numpy as np

from keras_t4r import backend


class Compiled(keras.Model):
    """A function that Keras compiles, of dicts (of dicts) of arrays of as many rows.

    Args:
        model: `SessionModel`, for how it is run.
        function: of a dict of tensors.
        parts: layers and models whose variables it reads.
    """

    def __init__(self, model, function, parts):
        # What it is given is of the model's own dtypes, whatever the policy of the day.
        super().__init__(
            name=function.__name__.strip("_"), dtype="float32", autocast=False
        )
        self.parts, self.function = list(parts), function
        self.run_eagerly, self.jit_compile = model.run_eagerly, model.jit_compile
        self.built = True

    def call(self, inputs):
        return self.function(inputs)

    def answer(self, x):
        """What the function makes of a batch, as NumPy arrays."""
        rows = len(keras.tree.flatten(x)[0])
        if backend.shapes_are_fixed():
            # Few shapes, so few compilations.
            more = (1 << (rows - 1).bit_length()) - rows
            x = keras.tree.map_structure(
                lambda v: np.concatenate([v, np.repeat(v[-1:], more, axis=0)]), x
            )
        found = self.predict_on_batch(x)
        return keras.tree.map_structure(lambda v: np.asarray(v)[:rows], found)
