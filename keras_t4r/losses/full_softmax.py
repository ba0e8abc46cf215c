import keras

from keras_t4r.arguments import rate
from keras_t4r.losses.cross_entropy import softmax_cross_entropy
from keras_t4r.losses.next_item_loss import NextItemLoss


@keras.saving.register_keras_serializable(package="keras_t4r")
class FullSoftmax(NextItemLoss):
    """Cross-entropy of a softmax over all items, exact.

    With scores `z`, a target `y` and smoothing `s` over `V` items:

    `loss = logsumexp(z) - (1 - s) * z[y] - s * mean(z)`

    Large catalogues are done in blocks of targets, so that the scores
    `(targets, V)` are never whole in memory.

    Args:
        label_smoothing: float in [0, 1). Share of the target that goes to all items
            alike.
        blockwise: bool. `None` chooses blocks from 20,000 items on.

    Raises:
        ValueError: `label_smoothing` does not lie in [0, 1).

    Example:

    >>> head = NextItemHead(loss=FullSoftmax(label_smoothing=0.1))

    References:
    - Szegedy et al., Rethinking the Inception Architecture, CVPR 2016 (label
      smoothing).
    """

    def __init__(self, label_smoothing=0.0, blockwise=None):
        self.label_smoothing = rate("label_smoothing", label_smoothing)
        self.blockwise = blockwise

    def call(self, hidden, table, bias, targets, weights):
        return softmax_cross_entropy(
            hidden,
            table,
            bias,
            targets,
            weights,
            label_smoothing=self.label_smoothing,
            blockwise=self.blockwise,
        )

    def get_config(self):
        return {"label_smoothing": self.label_smoothing, "blockwise": self.blockwise}
