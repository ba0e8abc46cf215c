"""Datasets whose batches are looked at before Keras makes tensors of them."""

import sys
import types

import keras

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader


def checked(data, check):
    """The same data, of which each batch is looked at on its way to the model.

    Args:
        data: what a method of `keras.Model` is given. A `PyDataset`, a generator, a
            `tf.data.Dataset` and a PyTorch `DataLoader` are looked at. A
            `KerasSequenceLoader`, which looked at its files, and all else, are
            returned as they are.
        check: callable of a batch, which raises where it is wrong.

    Returns:
        Data of the same kind: to Keras it is what it was.
    """
    if isinstance(data, keras.utils.PyDataset):
        # A loader's subclass may make batches of its own.
        of_loader = type(data).__getitem__ is KerasSequenceLoader.__getitem__
        looked_at = of_loader or isinstance(data, _CheckedDataset)
        return data if looked_at else _CheckedDataset(data, check)
    if isinstance(data, types.GeneratorType):
        return _checked_batches(data, check)
    # Data of a library that nobody imported cannot be there.
    tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch")
    if tensorflow is not None and isinstance(data, tensorflow.data.Dataset):
        return _checked_graph(data, check)
    if torch is not None and isinstance(data, torch.utils.data.DataLoader):
        return _checked_loader(data, check)
    return data


class _CheckedDataset(keras.utils.PyDataset):
    def __init__(self, dataset, check):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self._dataset, self._check = dataset, check

    @property
    def num_batches(self):
        return self._dataset.num_batches

    def __getitem__(self, index):
        batch = self._dataset[index]
        self._check(batch)
        return batch

    def on_epoch_begin(self):
        self._dataset.on_epoch_begin()

    def on_epoch_end(self):
        self._dataset.on_epoch_end()


def _checked_batches(batches, check):
    for batch in batches:
        check(batch)
        yield batch


def _checked_graph(dataset, check):
    """A `tf.data.Dataset` with a step behind it that calls Python."""
    import tensorflow as tf

    def look(*batch):
        if not isinstance(dataset.element_spec, tuple):
            (batch,) = batch
        # Once as the graph is made: ragged and sparse columns are refused here.
        check(batch)
        parts = tf.nest.flatten(batch)
        dense = [isinstance(part, tf.Tensor) for part in parts]

        def look_at(*values):
            given = iter(values)
            found = [
                next(given) if here else part
                for part, here in zip(parts, dense, strict=True)
            ]
            check(tf.nest.pack_sequence_as(batch, found))

        values = [part for part, here in zip(parts, dense, strict=True) if here]
        tf.numpy_function(look_at, values, [])
        return batch

    # So that the look is beside the step, and not before it.
    return dataset.map(look).prefetch(1)


def _checked_loader(loader, check):
    """A `torch.utils.data.DataLoader` that iterates another."""
    from torch.utils.data import DataLoader

    class CheckedLoader(DataLoader):
        # PyTorch's own would make samplers and workers anew.
        def __init__(self):
            pass

        def __iter__(self):
            return _checked_batches(loader, check)

        def __len__(self):
            return len(loader)

        def __getattr__(self, name):
            return getattr(loader, name)

    return CheckedLoader()
