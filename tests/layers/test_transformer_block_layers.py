"""TransformerBlock over a layer of the user's: any that Keras itself would take."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_t4r.layers.transformer_block import TransformerBlock

pytestmark = pytest.mark.backends

IDS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [5, 0, 0, 0, 0], [0, 0, 0, 0, 0]])


@keras.saving.register_keras_serializable(package="test_transformer_block_layers")
class OnlyCall(keras.layers.Layer):
    """Neither `build` nor `compute_output_shape`, and its parts are not built."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(12)

    def call(self, x):
        return self.dense(x)


@keras.saving.register_keras_serializable(package="test_transformer_block_layers")
class TakesMask(OnlyCall):
    """The mean of the real events, beside each; it does not say that it knows masks."""

    def call(self, x, mask):
        real = ops.expand_dims(ops.cast(mask, x.dtype), -1)
        total = ops.sum(x * real, axis=1, keepdims=True)
        mean = total / ops.maximum(ops.sum(real, axis=1, keepdims=True), 1)
        return self.dense(x + mean)


@keras.saving.register_keras_serializable(package="test_transformer_block_layers")
class Drops(OnlyCall):
    """It has dropout, and says nothing of `training`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, x):
        return self.dense(self.dropout(x))


def nested_model():
    x = keras.Input((None, 16))
    y = keras.layers.GRU(12, return_sequences=True)(x)
    return keras.Model(x, keras.layers.Conv1D(12, 3, padding="causal")(y))


LAYERS = {
    "only-call": OnlyCall,
    "takes-mask": TakesMask,
    "drops": Drops,
    "dense": lambda: keras.layers.Dense(12),
    "convolution": lambda: keras.layers.Conv1D(12, 3, padding="causal"),
    "gru": lambda: keras.layers.GRU(12, return_sequences=True),
    "sequential": lambda: keras.Sequential(
        [keras.layers.Conv1D(8, 2, padding="causal"), keras.layers.Dense(12)]
    ),
    "model": nested_model,
}


@keras.saving.register_keras_serializable(package="test_transformer_block_layers")
class ReadsMask(keras.layers.Layer):
    """Refuses, when the graph is made, what carries no mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, mask=None):
        if mask is None:
            raise ValueError("no mask")
        return x * ops.expand_dims(ops.cast(mask, x.dtype), -1)


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]()


def events():
    x = np.random.default_rng(0).normal(size=(4, 5, 16)).astype("float32")
    return ops.convert_to_tensor(x), ops.convert_to_tensor(IDS != 0)


def test_a_model_over_it_trains_and_comes_back(layer, tmp_path):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(10, 16, mask_zero=True)(ids)
    x = TransformerBlock(layer, causal=True, name="block")(x)
    assert x.shape == (None, None, 12)
    model = keras.Model(ids, keras.layers.Dense(10)(ReadsMask()(x)))
    assert model.get_layer("block").compute_output_shape((None, None, 16))[2] == 12
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    losses = model.fit(IDS, IDS, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (again, clone):
        np.testing.assert_allclose(
            ops.convert_to_numpy(other(IDS)),
            ops.convert_to_numpy(model(IDS)),
            rtol=0,
            atol=1e-6,
        )


def test_padding_comes_in_and_goes_out_as_zeros(layer):
    x, mask = events()
    block = TransformerBlock(layer)
    y = block(x, mask=mask)
    padding = IDS == 0
    assert not ops.convert_to_numpy(y)[padding].any()
    assert ops.convert_to_numpy(y)[~padding].any()
    np.testing.assert_array_equal(ops.convert_to_numpy(y._keras_mask), ~padding)
    dirty = np.where(padding[..., None], np.float32("nan"), ops.convert_to_numpy(x))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(block(dirty, mask=mask)), ops.convert_to_numpy(y)
    )


# Keras's own model says that its convolution knows no mask.
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_it_gets_the_mask_if_it_takes_one(layer):
    x, mask = events()
    y = TransformerBlock(layer)(x, mask=mask)
    clean = x * ops.cast(mask, "float32")[..., None]
    takes = "mask" in inspect.signature(layer.call).parameters
    expected = layer.call(clean, mask=mask) if takes else layer.call(clean)
    y, expected = map(ops.convert_to_numpy, (y, expected))
    np.testing.assert_allclose(y[IDS != 0], expected[IDS != 0], rtol=0, atol=1e-6)


def test_it_is_told_of_training_by_keras():
    x, mask = events()
    block = TransformerBlock(Drops())
    plain, again = block(x, mask=mask), block(x, mask=mask, training=False)
    trained = block(x, mask=mask, training=True)
    plain, again, trained = map(ops.convert_to_numpy, (plain, again, trained))
    np.testing.assert_array_equal(plain, again)
    assert np.abs(trained - plain).max() > 1e-3


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.GRU(12),
        lambda: keras.layers.Conv1D(12, 3, padding="valid"),
        lambda: keras.layers.Lambda(lambda x: [x, x]),
    ],
)
def test_what_returns_no_vector_for_each_event_is_refused(layer):
    x, mask = events()
    with pytest.raises(ValueError, match="must return one vector for each event"):
        TransformerBlock(layer())(x, mask=mask)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a:UserWarning")
def test_its_parts_come_back_quantised(tmp_path):
    x, _ = events()
    given = keras.Input((None, 16))
    model = keras.Model(given, TransformerBlock(OnlyCall())(given))
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again(x)), ops.convert_to_numpy(model(x))
    )
