"""What makes a run of `fit_windows` the one that it is, beside its files."""

from weakref import WeakKeyDictionary

from keras_t4r.training.description import described, described_by_attributes

# Of each optimizer, by the folder of the run's checkpoint: what it was when the run
# began, and when the run was left. Callbacks change its learning rate meanwhile, and
# the same model may go on with the run.
_LEFT = WeakKeyDictionary()


def facts_of(model, baselines, folder):
    """Descriptions of a model, of what it was compiled with, and of baselines.

    Args:
        model: compiled `SessionModel`.
        baselines: dict of name to baseline.
        folder: path. That of the run's checkpoint.
    """
    optimizer = described(model.optimizer)
    began, left = _LEFT.get(model.optimizer, {}).get(folder.absolute(), (None, None))
    return {
        "model": described(model),
        "optimizer": began if optimizer == left else optimizer,
        **{name: described(value) for name, value in model.compiled_with.items()},
        "baselines": {
            name: described_by_attributes(baseline)
            for name, baseline in baselines.items()
        },
    }


def leave(model, checkpoint):
    """Notes how a run leaves a model's optimizer.

    Args:
        model: compiled `SessionModel`.
        checkpoint: `Checkpoint` of the run.
    """
    now = described(model.optimizer)
    of_runs = _LEFT.setdefault(model.optimizer, {})
    of_runs[checkpoint.folder.absolute()] = checkpoint.run["optimizer"], now
