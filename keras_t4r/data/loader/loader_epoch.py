"""Keras's epoch is the loader's epoch."""

import warnings

import keras

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader


class LoaderEpoch(keras.callbacks.Callback):
    """Keeps a loader at the epoch that Keras is in.

    The order of a `KerasSequenceLoader` is a function of its seed and its epoch. Keras
    may begin at any epoch (`fit(initial_epoch=…)`, or `BackupAndRestore`, which goes on
    where a run was killed); the loader then begins there too, so that the run ends as
    if it had never stopped. `SessionModel.fit` adds this callback by itself.

    Keras calls `on_epoch_begin` before it fetches the first batch of the epoch, on
    every backend. Where `steps_per_epoch` cuts one pass over the sessions into several
    epochs of Keras, the loader stays at its pass. Keras always begins with a first
    batch, so such a run resumes exactly at the first epoch of a pass only.

    Args:
        loader: `KerasSequenceLoader`.

    Example:

    ```python
    backup = keras.callbacks.BackupAndRestore("backup")
    model.fit(loader, epochs=5, callbacks=[LoaderEpoch(loader), backup], shuffle=False)
    ```
    """

    def __init__(self, loader):
        super().__init__()
        self._loader = loader
        self._began = False

    def on_train_begin(self, logs=None):
        self._began = False

    def on_epoch_begin(self, epoch, logs=None):
        batches = len(self._loader)
        steps = (self.params or {}).get("steps") or batches
        number, part = divmod(epoch, -(-batches // steps))
        if part and not self._began:
            warnings.warn(
                f"Epoch {epoch} lies within a pass over the sessions, which "
                f"steps_per_epoch={steps} cuts; the pass begins again.",
                stacklevel=2,
            )
        self._began = True
        self._loader.set_epoch(number)


def follow_epochs(callbacks, data):
    """The callbacks of a `fit`, and a `LoaderEpoch` where it reads a loader.

    Args:
        callbacks: what `keras.Model.fit` takes: `None`, a callback, a list of them, or
            a `keras.callbacks.CallbackList`.
        data: what `fit` is given as `x`.

    Returns:
        Callbacks for `keras.Model.fit`.
    """
    if not isinstance(data, KerasSequenceLoader):
        return callbacks
    return with_callback(callbacks, LoaderEpoch(data))


def with_callback(callbacks, own):
    """What `keras.Model.fit` takes as callbacks, and one more."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        own.set_params(callbacks.params)
        callbacks.callbacks.append(own)
        return callbacks
    if callbacks is None:
        return [own]
    others = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    return [own, *others]
