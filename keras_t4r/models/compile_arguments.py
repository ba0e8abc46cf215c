"""What `compile` is told, output by output: next-item heads apart from the others."""

import keras


def split_by_output(argument, what, names, heads):
    """A `compile` argument as two dicts of output name to value.

    Args:
        argument: as of `keras.Model.compile`: a value for the only output, a list in
            the order of the outputs, or a dict of output name to value.
        what: string. Name of the argument, for errors.
        names: list of strings. The outputs.
        heads: collection of strings. Those that are of next-item heads.

    Returns:
        The pair of the dict of next-item outputs and that of the others; entries that
        are `None` are left out.

    Raises:
        ValueError: a name is not that of an output, or it is not clear which output
            a value is meant for.
    """
    if argument is None:
        return {}, {}
    if isinstance(argument, dict):
        unknown = sorted(set(argument) - set(names))
        if unknown:
            raise ValueError(
                f"{what} has an entry for {unknown}, but the model's outputs are "
                f"{names}."
            )
        by_name = argument
    elif len(names) == 1:
        by_name = {names[0]: argument}
    elif isinstance(argument, (list, tuple)) and len(argument) == len(names):
        by_name = dict(zip(names, argument, strict=True))
    elif what == "loss" and len(set(names) - set(heads)) == 1:
        (only,) = set(names) - set(heads)
        by_name = {only: argument}
    else:
        raise ValueError(
            f"The model has the outputs {names}: say which of them {what} is meant "
            f"for, as {what}={{{names[-1]!r}: …}}."
        )
    by_name = {k: v for k, v in by_name.items() if v is not None}
    of_heads = {k: v for k, v in by_name.items() if k in heads}
    return of_heads, {k: v for k, v in by_name.items() if k not in heads}


def metrics_of_heads(metrics, what):
    """Dict of output name to list of metric objects, checked.

    Raises:
        ValueError: a metric is no object, so that it is not known how it ranks.
    """
    found = {}
    for name, given in metrics.items():
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        for metric in given:
            if not isinstance(metric, keras.metrics.Metric):
                raise ValueError(
                    f"{what} of the next-item output {name!r} has {metric!r}: give "
                    "objects that read scores of all items, such as "
                    "keras_t4r.metrics.NDCG(20)."
                )
        found[name] = given
    return found


def refuse_losses_of_heads(losses):
    """Raises `ValueError` for losses that were meant for next-item outputs."""
    for name, loss in losses.items():
        raise ValueError(
            f"The output {name!r} is of a NextItemHead, which trains on a loss of its "
            f"own: pass it there, NextItemHead(loss=…), not to compile (loss={loss!r})."
        )
