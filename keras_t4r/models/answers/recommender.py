import keras
import numpy as np

from keras_t4r import backend
from keras_t4r.data.etl.config import SCORES
from keras_t4r.models.answers.sessions import RaggedSessions

# What stands for "no item" among raw integer ids, which have no null.
NO_ITEM = -1


class Recommender:
    """Answers of a `SessionModel` in raw ids.

    Model and top-k are one compiled function, made once for each choice of arguments
    of `SessionModel.top_k`: `k` ids and scores of a session leave the device, not the
    scores of the whole catalogue.

    Args:
        model: `SessionModel`.
    """

    def __init__(self, model):
        self._model = model
        self._functions = {}

    def recommend(self, sessions, batch_size, encoded, k, exclude_seen, **how):
        """See `SessionModel.recommend`; `how` are further arguments of its `top_k`."""
        model = self._model
        features, item = model.features, model.schema.item_id
        if SCORES in (item, features.session_column):
            raise ValueError(
                f"The model has a column {SCORES!r}, which is what an answer calls its "
                "scores: rename the column, or ask the model with top_k."
            )
        sessions = RaggedSessions(sessions, model.schema, self._vocabularies(), encoded)
        # What was seen may lie further back than what the model reads.
        history = None if exclude_seen else model.max_history
        scores = [np.zeros((0, k), "float32")]
        ids = [np.zeros((0, k), "int32")]
        if len(sessions):
            answer = self._function(k=k, exclude_seen=exclude_seen, **how)
            for x in sessions.batches(batch_size, history):
                best, index = answer(x)
                scores.append(best)
                ids.append(index)
        return {
            **sessions.keys(features.session_column),
            item: self.decode(np.concatenate(ids)),
            SCORES: np.concatenate(scores),
        }

    def decode(self, ids):
        """See `SessionModel.decode`."""
        vocabulary = self._model.vocabulary(self._model.schema.item_id)
        if vocabulary is None:
            return np.asarray(ids)
        return vocabulary.decode_filled(ids, NO_ITEM)

    def _vocabularies(self):
        names = [c.name for c in self._model.schema if c.is_categorical]
        found = {name: self._model.vocabulary(name) for name in names}
        return {name: v for name, v in found.items() if v is not None}

    def _function(self, **how):
        model = self._model
        key = (*sorted(how.items()), model.run_eagerly, model.jit_compile)
        now = tuple(model.variables)
        function, variables = self._functions.get(key, (None, ()))
        # `quantize`, LoRA and the like give a model other variables.
        same = len(now) == len(variables)
        if not same or any(a is not b for a, b in zip(now, variables, strict=True)):
            function = _TopK(model, how)
            self._functions[key] = function, now
        return function.answer


class _TopK(keras.Model):
    """A model and its top-k, compiled together as Keras compiles `predict`."""

    def __init__(self, model, how):
        super().__init__(name="top_k")
        self.answering = model
        self.how = how
        self.run_eagerly, self.jit_compile = model.run_eagerly, model.jit_compile
        self.built = True

    def call(self, inputs):
        return self.answering.top_k(inputs, **self.how)

    def answer(self, x):
        """Scores and ids `(batch, k)` of a batch, as NumPy arrays."""
        rows = len(next(iter(x.values())))
        if backend.shapes_are_fixed():
            # Few shapes, so few compilations.
            more = (1 << (rows - 1).bit_length()) - rows
            x = {
                name: np.concatenate([v, np.repeat(v[-1:], more, axis=0)])
                for name, v in x.items()
            }
        scores, ids = self.predict_on_batch(x)
        return np.asarray(scores)[:rows], np.asarray(ids)[:rows]
