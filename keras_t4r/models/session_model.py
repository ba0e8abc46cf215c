import functools

import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import optional, truth, whole_number
from keras_t4r.models.answers.query_graph import QueryGraph
from keras_t4r.models.answers.recommender import Recommender
from keras_t4r.models.answers.top_k import top_k
from keras_t4r.models.checks.divergence import check_finite
from keras_t4r.models.checks.vector_checks import check_vectors
from keras_t4r.models.graph import by_output, is_of_events
from keras_t4r.models.trained_model import TrainedModel
from keras_t4r.retrieval.item_index import ItemIndex

# Candidates that an index is asked for: for each item of an answer, and at least.
_CANDIDATES, _LEAST_CANDIDATES = 10, 200


@keras.saving.register_keras_serializable(package="keras_t4r")
class SessionModel(TrainedModel):
    """A functional Keras model that recommends the next item of a session.

    Outputs are one tensor, a list or a dict of them, of two kinds. Scores of a
    `NextItemHead` train on the loss of their head, with the targets of the scheme, and
    are evaluated by ranking the item that came next among all items, through the very
    path that serves. All others are Keras's own: `compile` names their losses and
    metrics, and the loader gives their targets.

    Targets and sample weights are one array, for a single output, or dicts by the
    outputs' names; for next-item outputs also by the name of their column.

    Args:
        inputs: dict of `keras.Input`, as of `Schema.inputs`.
        outputs: tensor, list or dict of tensors.
        name: string.

    Raises:
        ValueError: scheme and body do not go together, a head scores other ids than the
            schema has, or outputs are nested or of one name.

    Example:

    ```python
    model = SessionModel(inputs, scores)
    model.compile(keras.optimizers.Adam(1e-3), metrics=[NDCG(20), Recall(20)])
    model.fit(KerasSequenceLoader("sessions/1", schema, 384), epochs=5)
    model.evaluate(KerasSequenceLoader("sessions/2", schema, 512, target="last"))
    model.recommend({"item_id": [["214717005", "214716986"]]}, k=10)
    ```

    With more outputs:

    ```python
    model = SessionModel(inputs, {"next_item": scores, "bought": bought})
    model.compile("adamw", loss={"bought": "binary_crossentropy"},
                  loss_weights={"bought": 0.3},
                  metrics={"next_item": [NDCG(20)], "bought": ["auc"]})
    model.fit(KerasSequenceLoader("sessions/1", schema, 384, targets=["bought"]))
    ```
    """

    def _head_name(self, head):
        """Name of the output that answers: the one of items, or the named one."""
        of_items = [name for name, h in self.heads.items() if h.target is None]
        if head is None and len(of_items) == 1:
            return of_items[0]
        if head in of_items:
            return head
        raise ValueError(
            f"Say which output answers, by head=: it is one of {of_items}, "
            f"not {head!r}."
            if of_items
            else "The model has no next-item output of its items to answer with."
        )

    def top_k(self, inputs, k=10, exclude_seen=False, head=None, exclude=None):
        """Scores and ids of the best items; traceable, for export.

        Args:
            inputs: dict of column to tensor, encoded and right-padded.
            k: int.
            exclude_seen: bool. Leave out the items of the session itself.
            head: string. Name of the output that answers, where several do.
            exclude: int tensor `(batch, n)`, encoded ids not to be answered; 0 is none.

        Returns:
            The pair of scores `(batch, k)` and encoded ids `(batch, k)`.
        """
        name = self._head_name(head)
        self._check_k(k, [self.heads[name]])
        exclude_seen = truth("exclude_seen", exclude_seen)
        outputs = by_output(self._names, self(self.newest(inputs), training=False))
        head, scores = self.heads[name], outputs[name]
        return self._best(head, scores, inputs, k, exclude_seen, exclude)

    def answers(self, inputs, k=10, exclude_seen=False, exclude=None):
        """All outputs as they are served, of one forward pass; traceable, for export.

        Args:
            inputs: dict of column to tensor, encoded and right-padded.
            k: int. Number of ids that next-item outputs answer with; one of fewer ids
                answers with all of them. It says nothing to other outputs.
            exclude_seen: bool. Leave out the items of the session itself, from outputs
                of the items.
            exclude: int tensor `(batch, n)`, encoded ids that outputs of the items
                leave out; 0 is none.

        Returns:
            A dict by the outputs' names. Of next-item outputs the pair of scores
            `(batch, k)` and encoded ids `(batch, k)`, as of `top_k`. Of the others the
            values in float32; those of events, `(batch, time, …)`, are right-padded
            with 0, and are of the events that the model read, the newest `max_history`.

        Raises:
            ValueError: `k` is not between 1 and the most ids that an output scores, or
                there is no output of the items, of which some could be left out.
        """
        exclude_seen = truth("exclude_seen", exclude_seen)
        heads, tensors = self.heads, by_output(self._names, self.output)
        if heads:
            self._check_k(k, heads.values())
        if (exclude_seen or exclude is not None) and not self.answers_items:
            name = "exclude_seen" if exclude_seen else "exclude"
            raise ValueError(
                f"{name} leaves items out, but the model has no next-item output of "
                f"its items: leave {name} out."
            )
        newest = self.newest(inputs)
        outputs = by_output(self._names, self(newest, training=False))
        items = newest[self.schema.item_id]
        answers = {}
        for name, output in outputs.items():
            if name in heads:
                head = heads[name]
                out = exclude if head.target is None else None
                answers[name] = self._best(head, output, inputs, k, exclude_seen, out)
                continue
            output = ops.cast(output, "float32")
            if is_of_events(tensors[name]):
                # A scheme may have appended the event that comes next.
                output = output[:, : ops.shape(items)[1]]
                real = ops.not_equal(items, 0)
                for _ in output.shape[2:]:
                    real = ops.expand_dims(real, -1)
                output = ops.where(real, output, 0.0)
            answers[name] = output
        return answers

    @property
    def answers_items(self):
        """Whether an output scores the items, and not ids of another column only."""
        return any(head.target is None for head in self.heads.values())

    def _best(self, head, scores, inputs, k, exclude_seen, exclude=None):
        """`top_k` of the scores of a head, which may have fewer ids than `k`."""
        seen = exclude
        if exclude_seen and head.target is None:
            seen = inputs[self.schema.item_id]
            if exclude is not None:
                seen = ops.concatenate([ops.cast(seen, exclude.dtype), exclude], axis=1)
        k = min(k, head.rows - head.first_id)
        return top_k(scores, k, head.first_id, seen)

    def _check_k(self, k, heads):
        items = max(head.rows - head.first_id for head in heads)
        if whole_number("k", k, least=None) < 1 or k > items:
            raise ValueError(
                f"k must lie between 1 and the number of items, {items}, not at {k}."
            )

    @functools.cached_property
    def _recommender(self):
        return Recommender(self)

    def recommend(
        self,
        sessions,
        k=10,
        exclude_seen=False,
        batch_size=256,
        encoded=None,
        *,
        head=None,
        exclude=None,
        index=None,
        candidates=None,
    ):
        """The `k` items most likely to come next, in raw ids.

        Args:
            sessions: dict of column to list of lists, `pyarrow.Table`, polars or
                pandas frame, or list of rows (dicts or named tuples, one a session),
                with raw ids, as `{"item_id": [["a", "b"], ["c"]]}`; ids that the
                vocabulary does not hold count as unknown, and without a vocabulary raw
                ids are the encoded ones. Or a table of an ETL's `transform`, or read
                from what it wrote: that carries a mark, which says that its ids are
                encoded, and by which vocabulary, and how its numbers were standardised.
                polars and pandas lose the mark: what comes by them with the columns of
                an ETL is refused, unless `encoded` says what its ids are. Of tables
                that `pyarrow.concat_tables` makes one of Arrow keeps the mark of the
                first only: join those of one ETL.
            k: int. How many items.
            exclude_seen: bool. Leave out the items of the session itself.
            batch_size: int. Sessions scored at a time.
            encoded: bool. Whether ids are encoded and numbers standardised, where no
                mark says so: one of another ETL is refused also if this is true. With
                `False` ids and numbers are raw, whatever the mark says. `None` asks the
                mark.
            head: string. Name of the output that answers, where several do.
            exclude: raw ids that must not be answered: a list for all sessions, or a
                list of lists, one for each; arrays and series are lists, tables are
                none. Answers are not shorter for it, as long
                as items are left. Ids that the vocabulary does not hold say nothing.
            index: `ItemIndex` of the model, as `IVFIndex.of(model)`. Only candidates
                from it are ranked, and those that steps after the head bring up, such
                as a memory's followers, by the scores that they have among all items.
                With an `ExactIndex` the answers are those without an index.
            candidates: int. How many the index is asked for at first; more where fewer
                than `k` are left of them. `None` for the larger of `10 k` and 200.

        Returns:
            A dict of NumPy arrays, in the order of the sessions: the item column
            `(sessions, k)` with raw ids, `"scores"` `(sessions, k)`, and the session
            column where the sessions have one. Where fewer than `k` items are left,
            the last places hold none: their score is minus infinity, so that
            `np.isfinite(scores).sum(1)` items are real, and their id is `None` for
            text, -1 for integers, 0 where there is no vocabulary.

        Raises:
            ValueError: a column is missing, is named `scores` or stands twice, lists
                differ in length, a session is null, `k` is out of range; the mark of a
                table was lost; a table was encoded by another vocabulary than the
                model's, or the model has none, or its numbers were standardised
                otherwise; raw sessions hold a number that the ETL standardised; the
                model was made from a config, and its vocabularies are not in this
                process; an index is of another vocabulary, or of the model before it
                was trained further; the model has diverged, and its scores are
                NaN.
        """
        head = self._head_name(head)
        self._check_k(k, [self.heads[head]])
        check_vectors(self)
        batch_size = whole_number("batch_size", batch_size)
        exclude_seen = truth("exclude_seen", exclude_seen)
        encoded = optional(truth, "encoded", encoded)
        candidates = self.candidates_of(index, k, head, candidates)
        return self._recommender.recommend(
            sessions,
            batch_size,
            encoded,
            k=k,
            exclude_seen=exclude_seen,
            head=head,
            exclude=exclude,
            index=index,
            candidates=candidates,
        )

    # What an index is made of

    def output_of(self, name):
        """The symbolic output of a name."""
        return by_output(self._names, self.output)[name]

    def item_vectors(self, head=None):
        """The vectors whose product with a query is an item's score.

        Args:
            head: string. Name of the output that answers, where several do.

        Returns:
            The pair of encoded ids `(items,)` and their vectors `(items, dim)`, as
            NumPy arrays; see `NextItemHead.items`.

        Raises:
            ValueError: what comes after the head does not go with an index, or a weight
                is no finite number.
        """
        graph = QueryGraph(self, self.output_of(self._head_name(head)))
        vectors = ops.convert_to_numpy(graph.head.items(graph.table()))
        if not np.isfinite(vectors).all():
            check_finite(self)
            raise ValueError(
                "The items' vectors are beyond what their dtype holds, though no "
                "weight is: train the model again, or in float32."
            )
        first = graph.head.first_id
        return np.arange(first, len(vectors)), vectors[first:]

    @property
    def item_fingerprint(self):
        """The fingerprint of the items' vocabulary, `None` without one."""
        vocabulary = self.features.vocabulary(self.schema.item_id)
        return None if vocabulary is None else vocabulary.fingerprint

    def check_extends(self, fingerprint):
        """Raises where ids of another vocabulary mean other items than the model's.

        Args:
            fingerprint: string. That of a vocabulary, or `None`.

        Raises:
            ValueError: it is neither the model's nor one that this extends.
        """
        vocabulary = self.features.vocabulary(self.schema.item_id)
        known = vocabulary is not None and fingerprint is not None
        if known and vocabulary.covers(fingerprint):
            return
        if vocabulary is not None or fingerprint is not None:
            raise ValueError(
                "The index was built for the items of another vocabulary than the "
                "model's: build one of this model, as IVFIndex.of(model)."
            )

    def candidates_of(self, index, k, head=None, candidates=None):
        """How many candidates an index is asked for at first; `None` without one.

        Args:
            index, k, head, candidates: as of `recommend`.

        Raises:
            TypeError: it is no index.
            ValueError: it is of another vocabulary, or holds more or fewer items; `k`
                is out of range; or candidates are asked for without an index.
        """
        if index is None:
            if candidates is not None:
                raise ValueError("candidates come from an index: give index=, too.")
            return None
        head = self.heads[self._head_name(head)]
        self._check_k(k, [head])
        self._check_index(index, head)
        if candidates is None:
            candidates = max(_CANDIDATES * k, _LEAST_CANDIDATES)
        return max(k, whole_number("candidates", candidates))

    def _check_index(self, index, head):
        if not isinstance(index, ItemIndex):
            raise TypeError(
                f"index is {index!r}; it should be an index of keras_t4r.retrieval, as "
                "IVFIndex.of(model)."
            )
        self.check_extends(index.vocabulary)
        items = head.rows - head.first_id
        if index.vocabulary != self.item_fingerprint or len(index) != items:
            raise ValueError(
                f"The index holds {len(index)} items, the model scores {items}: call "
                "index.refresh(model)."
            )

    def decode(self, ids):
        """Raw values of encoded item ids; the ids themselves without a vocabulary.

        Ids that are no items come out as `None` for text, as -1 for integers.
        """
        return self._recommender.decode(ids)
