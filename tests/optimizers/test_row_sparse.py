"""Optimizers whose step costs what its batch touches."""

import keras
import numpy as np
import pytest
from keras import ops
from row_sparse_models import OPTIMIZERS, session_model, sessions

import keras_t4r as t4r
from keras_t4r.backend import as_table, take_rows

ROWS, DIM = 30, 4
ALL = np.arange(ROWS)

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="only TensorFlow has gradients of some rows",
)


class Table(keras.layers.Layer):
    """Rows of a table, and a dense kernel behind it."""

    def build(self, shape):
        normal = keras.initializers.RandomNormal(seed=1)
        self.table = self.add_weight(
            name="table", shape=(ROWS, DIM), initializer=normal, autocast=False
        )
        self.kernel = self.add_weight(name="kernel", shape=(DIM, 1), initializer=normal)

    def call(self, ids):
        rows = take_rows(as_table(self.table), ids)
        return ops.matmul(rows, self.kernel)


def make_model(optimizer):
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, Table()(ids))
    model.compile(optimizer, loss="mse")
    return model


def trained(optimizer, batches):
    model = make_model(optimizer)
    for ids in batches:
        model.train_on_batch(ids[None], np.sin(ids)[None, :, None] * 3)
    return model


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_where_all_rows_are_touched_it_is_the_dense_one(kind):
    sparse, dense, options = OPTIMIZERS[kind]
    # Each row twice or more: their gradients are summed.
    rng = np.random.default_rng(0)
    batches = [np.r_[ALL, rng.permutation(ALL)[:9], ALL] for _ in range(6)]
    models = [trained(make(0.05, **options), batches) for make in (sparse, dense)]
    for model in models:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_rows_that_are_not_touched_stay_as_they_are(kind):
    sparse, _, options = OPTIMIZERS[kind]
    model = trained(sparse(0.05, **options), [ALL])
    before = [ops.convert_to_numpy(v).copy() for v in model.optimizer.variables]
    table = model.get_weights()[0].copy()
    model.train_on_batch(np.array([[3, 7]]), np.ones((1, 2, 1)))
    others = np.setdiff1d(ALL, [3, 7])
    np.testing.assert_array_equal(model.get_weights()[0][others], table[others])
    assert (model.get_weights()[0][[3, 7]] != table[[3, 7]]).all()
    for old, variable in zip(before, model.optimizer.variables, strict=True):
        if old.shape == (ROWS, DIM):
            new = ops.convert_to_numpy(variable)
            np.testing.assert_array_equal(new[others], old[others])


@pytest.mark.parametrize("kind", ["adagrad", "sgd"])
def test_those_without_memory_of_steps_are_exactly_keras(kind):
    sparse, dense, options = OPTIMIZERS[kind]
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, ROWS, 5) for _ in range(8)]
    models = [trained(make(0.05, **options), batches) for make in (sparse, dense)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        lambda: t4r.losses.SampledSoftmax(4),
        lambda: t4r.losses.BinaryCrossEntropy(
            t4r.losses.samplers.UniformSampler(1, per_target=True)
        ),
        lambda: t4r.losses.ScalableCrossEntropy(2, 4, 4),
    ],
)
def test_a_step_of_a_sampled_loss_touches_its_rows_only(loss, normalize):
    model = session_model(loss(), normalize, t4r.optimizers.RowSparseAdam(0.01))
    x = sessions()
    model.train_on_batch(x)
    before = {v.path: ops.convert_to_numpy(v).copy() for v in model.variables}
    moments = [ops.convert_to_numpy(v).copy() for v in model.optimizer.variables]
    model.train_on_batch(x)
    for v in model.trainable_variables:
        if v.shape[0] == 401:
            moved = ops.convert_to_numpy(v) != before[v.path]
            rows = moved.reshape(401, -1).any(1)
            assert 0 < rows.sum() < 100, v.path
    seen = 0
    for old, v in zip(moments, model.optimizer.variables, strict=True):
        if old.shape[:1] == (401,):
            moved = (ops.convert_to_numpy(v) != old).reshape(401, -1).any(1)
            assert 0 < moved.sum() < 100, v.path
            seen += 1
    # Two moments of the table, and two of the bias.
    assert seen == 4


def test_a_model_trains_saves_resumes_and_evaluates(tmp_path):
    model = session_model(
        t4r.losses.SampledSoftmax(16), optimizer=t4r.optimizers.RowSparseAdamW(0.01)
    )
    x = sessions(64)
    losses = model.fit(x, epochs=3, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.optimizer, t4r.optimizers.RowSparseAdamW)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(
        model.optimizer.variables, again.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), again.predict(x, verbose=0), atol=1e-6
    )


def test_in_half_precision_losses_are_scaled():
    keras.config.set_dtype_policy("mixed_float16")
    model = session_model(
        t4r.losses.SampledSoftmax(16), optimizer=t4r.optimizers.RowSparseAdam(0.01)
    )
    losses = model.fit(sessions(64), epochs=3, batch_size=16, verbose=0)
    assert losses.history["loss"][-1] < losses.history["loss"][0]


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="cannot accumulate gradients"):
        t4r.optimizers.RowSparseAdam(gradient_accumulation_steps=2)
