import keras


@keras.saving.register_keras_serializable(package="keras_t4r")
class LoaderEpoch(keras.callbacks.Callback):
    """Keeps a loader at the epoch that Keras is in.

    The order of a `KerasSequenceLoader` is a function of its seed and its epoch. Keras
    may begin at any epoch (`fit(initial_epoch=…)`, or `BackupAndRestore`, which goes on
    where a run was killed); the loader begins there too, so that the run ends as if it
    had never stopped. `SessionModel.fit` has this callback by itself.

    Keras calls `on_epoch_begin` before it fetches the epoch's first batch, on every
    backend. Where `steps_per_epoch` cuts a pass over the data into several epochs of
    Keras, the loader stays with its pass; a run can then only resume exactly at the
    first of them, since Keras begins at the first batch.

    Args:
        loader: `KerasSequenceLoader`, or another dataset with `set_epoch`.

    Example:

    ```python
    backup = keras.callbacks.BackupAndRestore("backup")
    model.fit(loader, epochs=5, callbacks=[LoaderEpoch(loader), backup], shuffle=False)
    ```
    """
