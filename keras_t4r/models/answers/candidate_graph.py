"""What of an answer with an index the model's graph computes; traceable, for export."""

from keras import ops

from keras_t4r.models.answers.query_graph import QueryGraph

_INF = float("inf")


class CandidateGraph:
    """The two ends of an answer with an index: what it is asked, and the ranking.

    Args:
        model: `SessionModel`.
        output: the `KerasTensor` of the scores.
        k: int.

    Attributes:
        parts: list of the layers and models whose variables it reads.
        reads_rest: bool. Whether a step asks what the other items add up to.

    Raises:
        ValueError: something after the head does not go with an index.
    """

    def __init__(self, model, output, k):
        self._graph = graph = QueryGraph(model, output)
        self._model, self._k = model, k
        self.parts = [graph.head, *graph.steps, *graph.models]
        self.reads_rest = any(step.reads_rest for step in graph.steps)

    def query(self, inputs):
        """What the index is asked.

        Args:
            inputs: dict of column to tensor, encoded and right-padded.

        Returns:
            A dict: `"query"`, float32 `(batch, dim)`; `"must"`, int32 `(batch, n)`, ids
            that are candidates whatever the index finds, 0 for none; and `"items_0"`
            and so on, what each step has as items.
        """
        query, items = self._graph.query(self._model.newest(inputs))
        must = [
            ops.cast(step.candidates(of_step), "int32")
            for step, of_step in zip(self._graph.steps, items, strict=True)
        ]
        must.append(ops.zeros((ops.shape(query)[0], 1), "int32"))
        must = ops.concatenate(must, axis=1)
        must = ops.where(must < self._graph.head.first_id, 0, must)
        found = {"query": query, "must": must}
        return {**found, **{f"items_{n}": x for n, x in enumerate(items)}}

    def best(self, given):
        """The best `k` of the candidates.

        Args:
            given: dict of what `query` gives but `"must"`, and of the candidates, each
                `(batch, c)`: `"ids"`, int32, ascending in a row and each once, 0 for
                none; `"hit"`, whether the index found it; `"score"`, float32, by which;
                `"allowed"`, whether it may be answered. And `"rest"`, float32
                `(batch,)`; see `ScoreStep.change_candidates`.

        Returns:
            A dict: `"scores"` and `"ids"`, `(batch, k)`; `"left"`, `(batch,)`, how many
            hits are left after all steps; `"gap"`, `(batch,)`, how far the scores of
            the index are from the model's own.
        """
        head, ids = self._graph.head, given["ids"]
        vectors = head.items(self._graph.table(), ids)
        scores = ops.matmul(vectors, given["query"][:, :, None])[:, :, 0]
        scores = ops.where(ids > 0, scores, -_INF)
        # What the index has is compared with the model's own.
        hits = given["hit"]
        gap = ops.abs(ops.where(hits, scores - given["score"], 0.0))
        gap = ops.max(gap / (1.0 + ops.abs(given["score"])), axis=1)
        rest = given["rest"]
        for place, step in enumerate(self._graph.steps):
            items = given[f"items_{place}"]
            scores, rest = step.change_candidates(scores, ids, rest, items)
        scores = ops.where(given["allowed"], scores, -_INF)
        left = ops.sum(ops.cast(ops.logical_and(hits, scores > -_INF), "int32"), axis=1)
        best, place = ops.top_k(scores, self._k)
        found = ops.take_along_axis(ids, place, axis=1)
        found = ops.where(best > -_INF, found, 0)
        return {"scores": best, "ids": found, "left": left, "gap": gap}
