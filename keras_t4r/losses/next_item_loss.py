import keras


class NextItemLoss:
    """Base of the losses that a `NextItemHead` trains on.

    A loss of one's own is a subclass with a `call` (and a `get_config`, where it has
    arguments). The head calls it with what it scores by: the score of item `i` for
    target row `n` is `hidden[n] · table[i] + bias[i]`, temperature and normalisation
    done. A loss that has a `call_on_rows` as well is called by that, with an `ItemRows`
    for table and bias: it touches the rows that it asks for, up to the optimizer.

    Call arguments of `call`:
        hidden: float32 tensor `(n, dim)`. What the targets are predicted from.
        table: float tensor `(V, dim)`. The vectors of all ids.
        bias: float32 tensor `(V,)`. A very negative number for ids that are no items
            (padding, unknown), so that they count for nothing in a softmax and in a
            sigmoid.
        targets: int tensor `(n,)`. Ids, which are rows of the table.
        weights: float32 tensor `(n,)`. What each target counts; 0 leaves it out.

    Returns:
        A float32 scalar: the **sum** of weight times loss over the targets. The head
        divides it by their number.

    Example:

    ```python
    @keras.saving.register_keras_serializable(package="shop")
    class BinaryCrossEntropy(t4r.losses.NextItemLoss):
        def call(self, hidden, table, bias, targets, weights):
            logits = ops.matmul(hidden, ops.transpose(table)) + bias
            hits = ops.one_hot(targets, table.shape[0])
            loss = ops.binary_crossentropy(hits, logits, from_logits=True)
            return ops.sum(weights * ops.sum(loss, axis=1))

    scores = t4r.NextItemHead(loss=BinaryCrossEntropy())(x, targets, table)
    ```
    """

    def build(self, head, rows, first_id):
        """Makes what the loss keeps; the head calls it when it is built itself.

        Args:
            head: the layer. `head.add_weight` makes weights that are saved with it.
            rows: int. Rows of the table.
            first_id: int. The lowest id that is an item.
        """

    def check(self):
        """Raises `ValueError` where the loss cannot train yet.

        A `SessionModel` asks before it trains.
        """

    @property
    def seed_generators(self):
        """The `keras.random.SeedGenerator`s that the loss draws by, for the head to
        keep: Keras finds such states on layers only."""
        return [
            value
            for value in vars(self).values()
            if isinstance(value, keras.random.SeedGenerator)
        ]

    def call(self, hidden, table, bias, targets, weights):
        raise NotImplementedError(f"{type(self).__name__} has no `call`.")

    def get_config(self):
        """The arguments that the loss was made with, for saving."""
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def get_loss(loss):
    """The loss object of a `NextItemHead`'s `loss` argument.

    Args:
        loss: `NextItemLoss`, any object with such a `call`, or the dict that
            `keras.saving.serialize_keras_object` made of one.

    Raises:
        TypeError: it is a class, has no `call`, or is a loss of Keras, which knows no
            table.
    """
    if isinstance(loss, dict):
        loss = keras.saving.deserialize_keras_object(loss)
    if isinstance(loss, type):
        raise TypeError(
            f"The loss of a NextItemHead is an object, and {loss.__name__} is a class: "
            f"make one, {loss.__name__}(…)."
        )
    if isinstance(loss, keras.losses.Loss) or not callable(getattr(loss, "call", None)):
        raise TypeError(
            "The loss of a NextItemHead is an object with "
            "call(hidden, table, bias, targets, weights), such as "
            f"keras_t4r.losses.FullSoftmax(); this is {loss!r}."
        )
    return loss
