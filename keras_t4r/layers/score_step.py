import keras
from keras import ops


class ScoreStep(keras.layers.Layer):
    """A step after the head: changes the scores of a session by its items.

    `scores = step(scores, items)`. In training the scores are handed on as they are:
    a step changes what is answered, never what is learned. (A `NextItemHead`'s are
    empty then.) In inference `change` says what becomes of them.

    Call arguments:
        scores: float tensor `(batch, cardinality)`, minus infinity where an id is no
            item; `(batch, 0)` in training.
        items: int tensor `(batch, time)`. The sessions' items, oldest first; 0 is
            padding, wherever it stands.
        training: bool.

    Returns:
        A float32 tensor of the shape of `scores`. It has no mask.

    Raises:
        ValueError: the items are no integers, or scores or items are no matrix.

    Example:

    ```python
    class OnlyOddItems(ScoreStep):
        def change(self, scores, items):
            odd = ops.arange(ops.shape(scores)[1]) % 2 == 1
            return ops.where(odd, scores, -float("inf"))
    ```

    With an index (see `keras_t4r.retrieval`) a step sees the scores of some items
    only. One that says how it changes these, by `candidates` and `change_candidates`,
    goes with an index; others are refused there.

    Attributes:
        reads_rest: bool. Whether `change_candidates` asks what the scores of all
            other items add up to.
    """

    reads_rest = False

    def __init__(self, **kwargs):
        # Scores stay float32 under every policy: float16 has too few of them.
        super().__init__(**{"autocast": False, **kwargs})
        self.supports_masking = True

    def change(self, scores, items):
        """The scores that are answered.

        Args:
            scores: float32 tensor `(batch, cardinality)`.
            items: int tensor `(batch, time)`.

        Returns:
            A float32 tensor `(batch, cardinality)`.
        """
        raise NotImplementedError

    def candidates(self, items):
        """Ids that must be among the candidates: those whose score the step changes
        by something else than what it adds to all scores.

        Args:
            items: int tensor `(batch, time)`.

        Returns:
            An int tensor `(batch, n)`; an id may repeat, and 0 is none.
        """
        raise NotImplementedError

    def change_candidates(self, scores, ids, rest, items):
        """`change`, for the scores of some items.

        Args:
            scores: float32 tensor `(batch, c)`.
            ids: int tensor `(batch, c)`. What the scores are of, ascending, each once;
                0 for none, which scores minus infinity. All of `candidates` are there.
            rest: float32 tensor `(batch,)`. Logarithm of the sum of `exp(score)` over
                all items that are not among the ids; 0 where no step reads it.
            items: int tensor `(batch, time)`.

        Returns:
            The pair of new `scores` and new `rest`.
        """
        raise NotImplementedError

    @classmethod
    def knows_candidates(cls):
        """Whether the step says how it changes the scores of some items."""
        own = cls.candidates, cls.change_candidates
        return own[0] is not ScoreStep.candidates and (
            own[1] is not ScoreStep.change_candidates
        )

    def call(self, scores, items, training=None):
        self._check(scores, items)
        scores = ops.cast(scores, "float32")
        return scores if training else self.change(scores, items)

    def _check(self, scores, items):
        if len(scores.shape) != 2 or len(items.shape) != 2:
            raise ValueError(
                f"{type(self).__name__} takes scores (batch, cardinality) and items "
                f"(batch, time), not {tuple(scores.shape)} and {tuple(items.shape)}."
            )
        if "int" not in keras.backend.standardize_dtype(items.dtype):
            raise ValueError(
                f"{type(self).__name__} needs integer ids of items, not "
                f"{keras.backend.standardize_dtype(items.dtype)}: give the item "
                "column's input dtype='int32'."
            )

    def compute_output_spec(self, scores, items, training=None):
        self._check(scores, items)
        return keras.KerasTensor(scores.shape, dtype="float32")

    def compute_mask(self, inputs, previous_mask=None):
        return None
