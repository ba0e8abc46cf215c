import keras
from keras import ops

from keras_t4r.layers.hidden_scores import hide_items
from keras_t4r.layers.score_step import ScoreStep


@keras.saving.register_keras_serializable(package="keras_t4r")
class NoRepeat(ScoreStep):
    """Says that an item of the session does not come next.

    `score(j) = -inf where j = s(1)`, with `s(1)` the item of the last event; or where
    `j` is any item of the session. For logs that had repeats dropped, as by
    `SessionETL`, where the last item would waste the first rank; and for protocols that
    leave out what was seen. A session without events keeps its scores.

    Args:
        of: string. `"last"` or `"session"`: which of the session's items.

    Call arguments:
        scores: float tensor `(batch, cardinality)`; `(batch, 0)` in training.
        items: int tensor `(batch, time)`. The sessions' items; 0 is padding.
        training: bool. In training the scores are handed on as they are.

    Returns:
        A float32 tensor of the shape of `scores`.

    Example:

    ```python
    scores = NextItemHead()(x, targets, table)
    scores = NoRepeat()(scores, inputs[schema.item_id])
    ```
    """

    def __init__(self, of="last", **kwargs):
        super().__init__(**kwargs)
        if of not in ("last", "session"):
            raise ValueError(f"of must be 'last' or 'session', not {of!r}.")
        self.of = of

    def change(self, scores, items):
        if self.of == "session":
            return hide_items(scores, items)
        item, real = self._last(items)
        ids = ops.arange(ops.shape(scores)[1])[None, :]
        repeats = ops.equal(ids, ops.cast(item, ids.dtype))
        repeats = ops.logical_and(repeats, real)
        return ops.where(repeats, -float("inf"), scores)

    def candidates(self, items):
        return items if self.of == "session" else self._last(items)[0]

    def change_candidates(self, scores, ids, rest, items):
        gone = ops.cast(self.candidates(items), ids.dtype)
        repeats = ops.any(ops.equal(ids[:, :, None], gone[:, None, :]), axis=-1)
        return ops.where(repeats, -float("inf"), scores), rest

    def _last(self, items):
        """The last item, `(batch, 1)`, 0 without one; and whether there is one."""
        real = ops.not_equal(items, 0)
        place = ops.arange(1, ops.shape(items)[1] + 1)[None, :]
        # 0, which is no place, where there is no event.
        last = ops.max(ops.where(real, place, 0), axis=1, keepdims=True)
        at = ops.equal(place, last)
        item = ops.sum(ops.where(at, items, 0), axis=1, keepdims=True)
        return item, last > 0

    def get_config(self):
        return {**super().get_config(), "of": self.of}
