from keras import ops

from keras_t4r.metrics.ranks import target_ranks


def evaluate_scorer(scorer, loader, metrics):
    """Evaluates anything that scores items, as `SessionModel.evaluate` does.

    Args:
        scorer: object with `predict(x)`, which gives scores `(batch, items)`; a
            baseline, or the oracle of a synthetic log.
        loader: `KerasSequenceLoader` with `target="last"`.
        metrics: list of ranking metrics. They are reset first.

    Returns:
        A dict of metric name to value.
    """
    for metric in metrics:
        metric.reset_state()
    for i in range(len(loader)):
        x, y = loader[i]
        ranks = target_ranks(y, ops.convert_to_tensor(scorer.predict(x)))
        for metric in metrics:
            metric.update_ranks(ranks, y)
    return {metric.name: float(metric.result()) for metric in metrics}
