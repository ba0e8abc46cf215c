"""A run that was killed goes on with the sessions in the order that they had."""

import keras
import numpy as np
import pyarrow as pa
import pytest
from keras import ops
from seeds import set_seed

import keras_t4r as t4r
from keras_t4r.data.loader.loader_epoch import LoaderEpoch, follow_epochs
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.schema import ColumnSchema, Domain, Schema

SCHEMA = Schema(
    (
        ColumnSchema(
            "item_id", "int64", ("item_id", "categorical"), Domain(1, 20), (1, 16)
        ),
    )
)
EPOCHS = 4


class Killed(Exception):
    pass


class KillAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.at = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Killed


class OwnLoss(keras.layers.Layer):
    """A loss of its own, as the heads have."""

    def call(self, x):
        self.add_loss(ops.mean(ops.square(x - 1.0)))
        return x


class Seeded(keras.Model):
    """Keras's weights files leave the states of random generators out."""

    def _seeds(self):
        known = {id(v) for v in self.non_trainable_weights}
        return [v for v in self.non_trainable_variables if id(v) not in known]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for number, state in enumerate(self._seeds()):
            store[f"seed_{number}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store):
        for number, state in enumerate(self._seeds()):
            state.assign(store[f"seed_{number}"])


def make_loader(**arguments):
    rng = np.random.default_rng(3)
    items = [rng.integers(1, 21, n).tolist() for n in rng.integers(2, 17, 60)]
    table = pa.table({"item_id": items})
    return KerasSequenceLoader(table, SCHEMA, 8, shuffle=True, **arguments)


def make_model(own_loss):
    set_seed(1)
    inputs = SCHEMA.inputs()
    x = ops.sum(keras.layers.Embedding(21, 4)(inputs["item_id"]), axis=1)
    x = keras.layers.Dropout(0.1, seed=3)(x)
    x = keras.layers.Dense(21, activation="softmax")(x)
    model = Seeded(inputs, OwnLoss()(x) if own_loss else x)
    model.compile(
        keras.optimizers.Adam(0.05),
        loss=None if own_loss else "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    return model


def fit(loader, callbacks=None, own_loss=True, **arguments):
    model = make_model(own_loss)
    history = model.fit(
        loader,
        epochs=EPOCHS,
        callbacks=follow_epochs(callbacks, loader),
        shuffle=False,
        verbose=0,
        **arguments,
    )
    return history.history["loss"], model.get_weights()


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    "arguments",
    [{}, {"workers": 2}, {"buffer_rows": 24}, {"target": "last"}],
    ids=str,
)
def test_backup_and_restore_goes_on_to_the_same_losses(arguments, tmp_path):
    own_loss = "target" not in arguments
    losses, weights = fit(make_loader(**arguments), own_loss=own_loss)
    assert len(set(losses)) == EPOCHS

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(Killed):
        fit(make_loader(**arguments), [backup(), KillAt(2, 3)], own_loss)
    resumed, resumed_weights = fit(make_loader(**arguments), backup(), own_loss)
    assert resumed == losses[2:]
    for one, other in zip(weights, resumed_weights, strict=True):
        np.testing.assert_array_equal(one, other)


def fit_session_model(callbacks=None):
    """Masked items, dropout in features and body: all that is drawn in training."""
    set_seed(1)
    inputs = SCHEMA.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(SCHEMA, embedding_dim=8, dropout=0.2)(
        inputs
    )
    x, targets = t4r.MaskedLanguageModeling(0.3)(x, inputs["item_id"])
    config = t4r.session_config("bert", 8, n_head=2, n_layer=1, dropout=0.2)
    x = t4r.TransformerBlock(config)(x)
    loss = t4r.losses.SampledSoftmax(4)
    scores = t4r.NextItemHead(loss, first_id=1, dropout=0.2)(x, targets, table)
    model = t4r.SessionModel(inputs, scores)
    model.compile(keras.optimizers.Adam(0.01))
    # All batches of one shape, for which one graph is compiled.
    loader = make_loader(bucket=False, drop_last=True)
    history = model.fit(loader, epochs=EPOCHS, callbacks=callbacks, verbose=0)
    return history.history["loss"], model.get_weights()


@pytest.mark.backends
def test_a_session_model_resumes_to_the_digit(tmp_path):
    losses, weights = fit_session_model()
    assert len(set(losses)) == EPOCHS

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(Killed):
        fit_session_model([backup(), KillAt(2, 3)])
    resumed, resumed_weights = fit_session_model([backup()])
    assert resumed == losses[2:]
    for one, other in zip(weights, resumed_weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.backends
def test_the_batches_of_an_epoch_are_those_of_keras_epoch(monkeypatch):
    fetched = []
    original = KerasSequenceLoader.__getitem__

    def recorded(self, index):
        fetched.append((self.epoch, index))
        return original(self, index)

    monkeypatch.setattr(KerasSequenceLoader, "__getitem__", recorded)
    loader = make_loader()

    class Mark(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            fetched.append(("epoch", epoch))

    fit(loader, [Mark()], initial_epoch=2)
    for epoch in (2, 3):
        begin = fetched.index(("epoch", epoch)) + 1
        until = fetched.index(("epoch", epoch + 1)) if epoch < 3 else len(fetched)
        # What Keras looks at again after the epoch's last batch, it throws away.
        assert fetched[begin:until][: len(loader)] == [
            (epoch, index) for index in range(len(loader))
        ]
    assert loader.epoch == 4


def test_steps_per_epoch_leave_the_loader_at_its_pass():
    loader = make_loader()
    passes = []

    class Mark(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            passes.append(loader.epoch)

    assert len(loader) == 8
    fit(loader, [Mark()], steps_per_epoch=4)
    assert passes == [0, 0, 1, 1]
    callback = LoaderEpoch(loader)
    callback.set_params({"steps": 4})
    callback.on_train_begin()
    with pytest.warns(UserWarning, match="Epoch 3 lies within a pass over the"):
        callback.on_epoch_begin(3)
    assert loader.epoch == 1


def test_other_data_and_callbacks_stay_as_they_are():
    assert follow_epochs(None, np.ones(3)) is None
    history = keras.callbacks.History()
    loader = make_loader()
    assert follow_epochs(history, loader)[1:] == [history]
    assert follow_epochs((history,), loader)[1:] == [history]
    several = keras.callbacks.CallbackList([history])
    assert follow_epochs(several, loader) is several
    assert isinstance(several.callbacks[-1], LoaderEpoch)
