import keras
from keras import ops

from keras_t4r.metrics.ranks import target_ranks


def evaluate_scorer(scorer, loader, metrics):
    """Evaluates anything that scores items, as `SessionModel.evaluate` does.

    A target that the vocabulary does not know (its id is below the schema's first)
    is a miss, whatever score the scorer gives that id.

    Args:
        scorer: object with `predict(x)`, which gives scores `(batch, items)`; a
            baseline, or the oracle of a synthetic log.
        loader: `KerasSequenceLoader` with `target="last"`. Its sample weights count.
        metrics: list of ranking metrics. They are reset first.

    Returns:
        A dict of metric name to value.

    Raises:
        ValueError: the loader gives no item that came next, or its ids were encoded by
            another vocabulary than that of a baseline.
    """
    if loader.target != "last":
        raise ValueError(
            "The loader gives no item that came next: make it with target='last'."
        )
    if hasattr(scorer, "check_ids"):
        scorer.check_ids(loader)
    item = loader.schema.item_id
    first_id = loader.schema[item].first_id
    for metric in metrics:
        metric.reset_state()
    for i in range(len(loader)):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(loader[i])
        y = y[item] if isinstance(y, dict) else y
        ranks = target_ranks(y, ops.convert_to_tensor(scorer.predict(x)))
        ranks = ops.where(y >= first_id, ranks, float("inf"))
        for metric in metrics:
            metric.update_ranks(ranks, y, weight)
    return {metric.name: float(metric.result()) for metric in metrics}
