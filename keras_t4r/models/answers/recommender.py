import numpy as np

from keras_t4r.data.etl.config import SCORES
from keras_t4r.models.answers.compiled import Compiled
from keras_t4r.models.answers.excluded import excluded_ids
from keras_t4r.models.answers.retriever import Retriever
from keras_t4r.models.answers.sessions import RaggedSessions
from keras_t4r.models.checks.divergence import check_scores

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

    def recommend(
        self,
        sessions,
        batch_size,
        encoded,
        k,
        exclude_seen,
        head,
        exclude=None,
        index=None,
        candidates=None,
    ):
        """See `SessionModel.recommend`; the arguments are checked."""
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
        if exclude is not None:
            vocabulary = features.vocabulary(item)
            rows = model.heads[head].rows
            exclude = excluded_ids(exclude, len(sessions), vocabulary, rows)
        if len(sessions):
            start = 0
            for x in sessions.batches(batch_size, history):
                # The rest of the excluded ids is that of later batches.
                out = None if exclude is None else exclude[start : start + len(x[item])]
                start += len(x[item])
                if index is None:
                    best, found = self._ranked(x, k, exclude_seen, head, out)
                else:
                    if exclude_seen:
                        seen = [x[item]] if out is None else [x[item], out]
                        out = np.concatenate(seen, axis=1)
                    answer = self._retriever(k, head).answer
                    best, found = answer(x, index, candidates, out)
                check_scores(best)
                scores.append(best)
                ids.append(found)
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

    def _ranked(self, x, k, exclude_seen, head, exclude):
        """Scores and ids `(batch, k)` of all items."""
        model = self._model

        def make():
            def top_k(given):
                how = dict(k=k, exclude_seen=exclude_seen, head=head)
                return model.top_k(given["x"], exclude=given.get("exclude"), **how)

            return Compiled(model, top_k, [model])

        given = {"x": x} if exclude is None else {"x": x, "exclude": exclude}
        key = k, exclude_seen, head, exclude is None
        return self._made("top_k", key, make).answer(given)

    def _retriever(self, k, head):
        model = self._model

        def make():
            return Retriever.of(model, model.output_of(head), k)

        return self._made("retriever", (k, head), make)

    def _made(self, what, key, make):
        """What `make` makes, or made before of the same variables."""
        model = self._model
        key = (what, *key, model.run_eagerly, model.jit_compile)
        now = tuple(model.variables)
        made, variables = self._functions.get(key, (None, ()))
        # `quantize`, LoRA and the like give a model other variables.
        same = len(now) == len(variables)
        if not same or any(a is not b for a, b in zip(now, variables, strict=True)):
            made = make()
            self._functions[key] = made, now
        return made
