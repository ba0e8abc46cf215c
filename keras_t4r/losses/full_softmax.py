import keras

from keras_t4r.arguments import one_of, rate
from keras_t4r.losses.next_item_loss import NextItemLoss
from keras_t4r.losses.products.cross_entropy import check_filter, softmax_cross_entropy


@keras.saving.register_keras_serializable(package="keras_t4r")
class FullSoftmax(NextItemLoss):
    """Cross-entropy of a softmax over all items, exact.

    With scores `z`, a target `y` and smoothing `s` over `V` items:

    `loss = logsumexp(z) - (1 - s) * z[y] - s * mean(z)`

    Large catalogues are done in chunks, of the targets and then of the items, so that
    nothing of the size of the scores, `(targets, V)`, is ever held.

    Args:
        label_smoothing: float in [0, 1). Share of the target that goes to all items
            alike.
        chunks: what is cut: `"none"`, `"targets"`, or `"items"`, which stands for both;
            `None` chooses by the number of items, or items where there is a filter.
        filter_below: float in [0, 1). Of chunks of items: a chunk in which no item
            has this probability, for any of some hundred targets, gives no gradient.
            The gradient is then no longer exact.

    Raises:
        ValueError: `label_smoothing` or `filter_below` does not lie in [0, 1), or
            `chunks` is none of these, or there is a filter, but no chunks of items.

    Example:

    >>> head = NextItemHead(loss=FullSoftmax(label_smoothing=0.1))

    References:
    - Szegedy et al., Rethinking the Inception Architecture, CVPR 2016 (label
      smoothing).
    - Wijmans et al., Cut Your Losses in Large-Vocabulary Language Models, ICLR 2025
      (chunks, and their filter).
    """

    def __init__(self, label_smoothing=0.0, chunks=None, filter_below=0.0):
        one_of("chunks", chunks, (None, "none", "targets", "items"))
        self.label_smoothing = rate("label_smoothing", label_smoothing)
        self.chunks = chunks
        self.filter_below = rate("filter_below", filter_below)
        check_filter(self.filter_below, chunks)

    def call(self, hidden, table, bias, targets, weights):
        return softmax_cross_entropy(
            hidden, table, bias, targets, weights, **self.get_config()
        )

    def get_config(self):
        return {
            "label_smoothing": self.label_smoothing,
            "chunks": self.chunks,
            "filter_below": self.filter_below,
        }
