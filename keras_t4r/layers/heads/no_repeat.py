import keras
from keras import ops

from keras_t4r.layers.score_step import ScoreStep


@keras.saving.register_keras_serializable(package="keras_t4r")
class NoRepeat(ScoreStep):
    """Says that the item of a session's last event does not come next.

    `score(j) = -inf where j = s(1)`, with `s(1)` the item of the last event. For logs
    that had repeats dropped, as by `SessionETL`: the last item would waste the first
    rank there. A session without events keeps its scores.

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

    def change(self, scores, items):
        real = ops.not_equal(items, 0)
        place = ops.arange(1, ops.shape(items)[1] + 1)[None, :]
        # 0, which is no place, where there is no event.
        last = ops.max(ops.where(real, place, 0), axis=1, keepdims=True)
        at = ops.equal(place, last)
        item = ops.sum(ops.where(at, items, 0), axis=1, keepdims=True)
        ids = ops.arange(ops.shape(scores)[1])[None, :]
        repeats = ops.equal(ids, ops.cast(item, ids.dtype))
        repeats = ops.logical_and(repeats, last > 0)
        return ops.where(repeats, -float("inf"), scores)
