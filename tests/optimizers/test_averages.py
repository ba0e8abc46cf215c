"""Moving averages of weights (`use_ema`), of which rows a step does not touch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from row_sparse_models import ROWS, session_model, sessions

from keras_t4r import optimizers

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="only TensorFlow has gradients of some rows",
)
PAIRS = {
    "adamw": (optimizers.RowSparseAdamW, keras.optimizers.AdamW),
    "adagrad": (optimizers.RowSparseAdagrad, keras.optimizers.Adagrad),
    "sgd": (optimizers.RowSparseSGD, keras.optimizers.SGD),
}
AVERAGED = {"use_ema": True, "ema_momentum": 0.9}
# Sessions and draws are of low ids, but for some draws.
FEW = 40


def tables(model):
    """Weights with a row an item: the table and the bias."""
    found = [v for v in model.trainable_variables if v.shape[0] == ROWS]
    assert len(found) == 2
    return [ops.convert_to_numpy(v).reshape(ROWS, -1).copy() for v in found]


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_rows_that_were_never_touched_stay_at_the_end_of_fit(kind):
    plain, averaged = (
        session_model(optimizer=PAIRS[kind][0](0.05, **more)) for more in ({}, AVERAGED)
    )
    averaged.set_weights(plain.get_weights())
    before = tables(averaged)
    for model in (plain, averaged):
        keras.utils.set_random_seed(1)
        for seed in _seeds(model):
            seed.assign([5, 0])
        model.fit(
            sessions(8, items=FEW), epochs=2, batch_size=4, shuffle=False, verbose=0
        )
    for old, moved, new in zip(before, tables(plain), tables(averaged), strict=True):
        untouched = (moved == old).all(1)
        assert 100 < untouched.sum() < ROWS - 10
        np.testing.assert_array_equal(new[untouched], old[untouched])
        # The others lie on the way: they are averages.
        assert (new[~untouched] != old[~untouched]).any(1).all()
        assert np.abs(new - old).max() < np.abs(moved - old).max()


def _seeds(model):
    return [v for v in model.non_trainable_variables if "seed" in v.path]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_row_met_late_starts_from_itself(momentum):
    """As Keras's average of it, which was the row as long as that did not move."""
    sparse, dense = (
        make(0.1, use_ema=True, ema_momentum=momentum) for make in PAIRS["adagrad"]
    )
    one, other = (keras.Variable(np.ones((4, 2), "float32")) for _ in range(2))
    sparse.build([one])
    dense.build([other])
    for row in (0, 1):
        values, at = tf.ones((1, 2)), tf.constant([row])
        gradient = tf.IndexedSlices(values, at, tf.constant([4, 2]))
        sparse.apply([gradient])
        dense.apply([tf.convert_to_tensor(gradient)])
    averages = [
        ops.convert_to_numpy(o._model_variables_moving_average[0])
        for o in (sparse, dense)
    ]
    # Keras's average of row 0 went on in the second step, which does not touch it.
    np.testing.assert_allclose(averages[0][1:], averages[1][1:], rtol=1e-6)


def test_weights_that_are_set_before_the_first_step_are_what_averages_start_from():
    model = session_model(optimizer=optimizers.RowSparseAdam(0.05, **AVERAGED))
    x = sessions(8, items=FEW)
    model.optimizer.build(model.trainable_variables)
    model.set_weights([w + 1 for w in model.get_weights()])
    before = tables(model)
    model.fit(x, verbose=0)
    for old, new in zip(before, tables(model), strict=True):
        np.testing.assert_allclose(new, old, atol=0.5)


def test_averages_are_written_over_weights_in_between():
    options = {**AVERAGED, "ema_overwrite_frequency": 2}
    model = session_model(optimizer=optimizers.RowSparseAdam(0.05, **options))
    before = tables(model)
    model.fit(sessions(8, items=FEW), batch_size=2, verbose=0)
    for old, new in zip(before, tables(model), strict=True):
        assert (new == old).all(1).sum() > 100
