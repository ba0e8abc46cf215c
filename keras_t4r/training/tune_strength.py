from keras_t4r.metrics.ranking_metric import RankingMetric


def tune_strength(model, sessions, factor=2.0):
    """Moves the strength of a model's memory a step to where it ranks better.

    Counts know more than the network on one log, and less on another, or after the
    network has learned for a week. The strength is multiplied or divided by `factor`,
    or stays, whichever ranks the sessions best by the model's first ranking metric.

    Args:
        model: compiled `SessionModel` with a `TransitionMemory` and ranking metrics.
        sessions: `KerasSequenceLoader` with `target="last"`. Sessions that neither
            network nor memory has learned: on sessions that it counted, a memory is
            always right.
        factor: float above 1.

    Returns:
        The strength.

    Raises:
        ValueError: the model has no memory or no ranking metric, or `factor` is not
            above 1.

    Example:

    ```python
    today = KerasSequenceLoader("sessions/2", schema, 512, target="last")
    training.tune_strength(model, today)
    model.memory.update(KerasSequenceLoader("sessions/2", schema, 512))
    ```
    """
    if not factor > 1:
        raise ValueError(f"factor must be above 1, not {factor}.")
    if model.memory is None:
        raise ValueError("The model has no TransitionMemory whose strength to tune.")
    metrics = [m for m in model.metrics if isinstance(m, RankingMetric)]
    if not metrics:
        raise ValueError(
            "The model has no ranking metric to tune by: compile it with "
            "metrics=[NDCG(20), …]."
        )
    strength = model.memory.strength
    now = float(strength)
    # The first of equals is kept: without a reason the strength stays.
    found = {}
    for value in (now, now / factor, now * factor):
        strength.assign(value)
        logs = model.evaluate(sessions, verbose=0, return_dict=True)
        found[value] = logs[metrics[0].name]
    best = max(found, key=found.get)
    strength.assign(best)
    return best
