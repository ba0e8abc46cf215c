"""MMoE, CGC, PLE: numbers by their equations, and as layers among Keras's."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

import keras_t4r as t4r
from keras_t4r.layers.attach_mask import AttachMask

pytestmark = pytest.mark.backends

X = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 1, 1, 0, 1], [0] * 5], bool)

LAYERS = {
    "mmoe": lambda **more: t4r.MMoE(2, 3, **{"units": (7, 4)} | more),
    "cgc": lambda **more: t4r.CGC(2, 2, 1, **{"units": (7, 4)} | more),
    "cgc_shared": lambda **more: t4r.CGC(
        2, 1, 2, **{"units": 4, "shared_gate": True} | more
    ),
    "ple": lambda **more: t4r.PLE(2, 3, 1, 2, **{"units": 4} | more),
}


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


def shuffle(layer):
    """Other weights than zeros, so that biases count."""
    rng = np.random.default_rng(3)
    layer.set_weights([rng.normal(size=w.shape) * 0.5 for w in layer.weights])


def numbers(tensors):
    return [ops.convert_to_numpy(t) for t in tensors]


# The equations, expert by expert


def network(experts, index, x):
    for kernel, bias in zip(experts.kernels, experts.biases, strict=True):
        kernel, bias = numbers([kernel, bias])
        x = np.maximum(x @ kernel[index] + bias[index], 0)
    return x


def mixed(gates, task, x, experts):
    score = np.exp(x @ ops.convert_to_numpy(gates.kernel)[task])
    share = score / score.sum(-1, keepdims=True)
    assert share.shape[-1] == len(experts)
    return sum(share[..., k, None] * expert for k, expert in enumerate(experts))


def cgc_by_hand(layer, xs):
    tasks, own = layer.num_tasks, layer.num_task_experts
    shared = [
        network(layer.shared_experts, k, xs[-1])
        for k in range(layer.num_shared_experts)
    ]
    of_task = [
        [network(layer.task_experts, t * own + k, xs[t]) for k in range(own)]
        for t in range(tasks)
    ]
    y = [mixed(layer.task_gates, t, xs[t], of_task[t] + shared) for t in range(tasks)]
    if layer.shared_gate:
        every = [*itertools.chain(*of_task), *shared]
        y.append(mixed(layer.gate_of_all, 0, xs[-1], every))
    return y


@pytest.mark.parametrize("units", [4, (7, 4), (3, 8, 5)])
@pytest.mark.parametrize("x", [X[:, 0], X, X[:, :, None]])
def test_mmoe_is_its_equation(x, units):
    layer = t4r.MMoE(3, num_experts=4, units=units)
    layer.build(x.shape)
    shuffle(layer)
    experts = [network(layer.experts, k, x) for k in range(4)]
    expected = [mixed(layer.gates, task, x, experts) for task in range(3)]
    y = numbers(layer(x))
    assert len(y) == 3
    for one, wanted in zip(y, expected, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shared_gate", [False, True])
@pytest.mark.parametrize("own", [1, 2])
@pytest.mark.parametrize("x", [X[:, 0], X])
def test_cgc_is_its_equation_for_one_input_and_for_several(x, own, shared_gate):
    several = [x, x[::-1] * 2, x + 1, x * x]
    for given in (x, several):
        layer = t4r.CGC(3, own, 2, units=(7, 4), shared_gate=shared_gate)
        layer.build([s.shape for s in several] if given is several else x.shape)
        shuffle(layer)
        y = numbers(layer(given))
        expected = cgc_by_hand(layer, several if given is several else [x] * 4)
        assert len(y) == 3 + shared_gate
        for one, wanted in zip(y, expected, strict=True):
            np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-5)


def test_ple_is_levels_of_cgc_with_a_shared_gate_in_all_but_the_last():
    layer = t4r.PLE(2, 3, 2, 1, units=(7, 4))
    layer.build(X.shape)
    shuffle(layer)
    y = [X] * 3
    for level in layer.levels:
        y = cgc_by_hand(level, y)
    assert [level.shared_gate for level in layer.levels] == [True, True, False]
    assert len(y) == 2
    for one, wanted in zip(numbers(layer(X)), y, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-5)


def test_ple_of_one_level_takes_several_inputs_too():
    layer = t4r.PLE(1, 1, 1, 1, units=4)
    first, second = numbers([layer([X, X * 0])[0], layer([X, X])[0]])
    assert first.shape == (4, 5, 4) and (first != second).any()


def test_the_experts_of_one_product_begin_as_different_dense_layers():
    layer = t4r.CGC(
        4, 8, 32, units=(64, 64), kernel_initializer=keras.initializers.HeNormal(5)
    )
    layer.build((None, 64))
    layer_again = t4r.CGC.from_config(layer.get_config())
    layer_again.build((None, 64))
    kernels = []
    for experts in (layer.task_experts, layer.shared_experts):
        kernels += itertools.chain(*numbers(experts.kernels))
    for kernel in kernels:
        assert kernel.std() == pytest.approx((2 / 64) ** 0.5, rel=0.1)
    assert len({kernel.tobytes() for kernel in kernels}) == 2 * (32 + 32)
    for one, again in zip(layer.weights, layer_again.weights, strict=True):
        np.testing.assert_array_equal(*numbers([one, again]))


# As layers


def test_gradients_reach_every_expert_and_gate(make):
    x = keras.Input((None, 6))
    # Activations that are nowhere flat.
    layer = make(activation="softplus")
    model = keras.Model(x, layer(keras.layers.Dense(6)(x)))
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    shuffle(layer)
    before = layer.get_weights()
    targets = [np.full((4, 5, 4), 3.0 + i) for i in range(len(model.outputs))]
    model.fit(X, targets, epochs=1, verbose=0)
    for weight, old in zip(layer.weights, before, strict=True):
        moved = np.abs(ops.convert_to_numpy(weight) - old)
        # The first axis: experts and tasks.
        assert (moved.reshape(len(moved), -1).max(1) > 1e-6).all(), weight.path


@pytest.mark.backends("torch")
def test_every_output_carries_the_mask(make):
    x = AttachMask()((ops.convert_to_tensor(X), ops.convert_to_tensor(MASK)))
    for y in make()(x):
        np.testing.assert_array_equal(ops.convert_to_numpy(y._keras_mask), MASK)
    for y in make()(X[:, 0]):
        assert getattr(y, "_keras_mask", None) is None


def test_each_task_has_the_mask_of_its_own_input():
    def masked(mask):
        return AttachMask()((ops.convert_to_tensor(X), ops.convert_to_tensor(mask)))

    masks = [MASK, ~MASK, MASK | True]
    for layer in (t4r.CGC(2, 1, 1, 4, shared_gate=True), t4r.PLE(2, 2, 1, 1, 4)):
        for y, mask in zip(layer([masked(m) for m in masks]), masks, strict=False):
            np.testing.assert_array_equal(ops.convert_to_numpy(y._keras_mask), mask)


def test_shapes_are_known_before_any_data(make):
    x = keras.Input((None, 6))
    for y in make()(x):
        assert y.shape == (None, None, 4)
    for y in make()(keras.Input((5, 6), batch_size=3)):
        assert y.shape == (3, 5, 4)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(make, policy):
    layer = make(dtype=policy)
    y, full = layer(X), make()
    full.build(X.shape)
    full.set_weights(layer.get_weights())
    assert {w.dtype for w in layer.weights} == {"float32"}
    for one, wanted in zip(y, full(X), strict=True):
        assert keras.backend.standardize_dtype(one.dtype) == policy[6:]
        one, wanted = numbers([ops.cast(one, "float32"), wanted])
        np.testing.assert_allclose(one, wanted, atol=0.1)


def test_dropout_is_active_in_training_only_and_seeded(make):
    plain, first, second = make(), make(dropout=0.5, seed=4), make(dropout=0.5, seed=4)
    for layer in (plain, first, second):
        layer.build(X.shape)
    kept = numbers(plain(X))
    for layer in (first, second):
        weights = iter(plain.weights)
        for weight in layer.trainable_weights:
            weight.assign(next(weights))
    for one, wanted in zip(numbers(first(X)), kept, strict=True):
        np.testing.assert_array_equal(one, wanted)
    one, two = (numbers(layer(X, training=True)) for layer in (first, second))
    for a, b, wanted in zip(one, two, kept, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != wanted).any()


def test_a_regularizer_counts_every_expert(make):
    layer = make(kernel_regularizer=keras.regularizers.L2(0.5))
    layer(X)
    kernels = [w for w in layer.weights if w.path.split("/")[-1].startswith("kernel_")]
    expected = sum(0.5 * np.square(k).sum() for k in numbers(kernels))
    (loss,) = numbers([sum(layer.losses)])
    assert loss == pytest.approx(expected, rel=1e-5)


def test_they_come_back_between_keras_layers_and_nested_models(make, tmp_path):
    inside = keras.Input((None, 6))
    nested = keras.Model(inside, make()(inside), name="tasks")
    x = keras.Input((None, 6))
    y = nested(keras.layers.LayerNormalization()(x))
    model = keras.Model(x, [keras.layers.Dense(2)(y[0]), y[1] + 1.0])
    shuffle(nested)
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    rebuilt = keras.Model.from_config(model.get_config())
    for other in (clone, rebuilt):
        other.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "model.keras"), clone, rebuilt):
        for one, wanted in zip(other.predict(X, verbose=0), expected, strict=True):
            np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-6)


def test_a_layer_serves_two_inputs(make):
    layer = make()
    first, second = keras.Input((None, 6)), keras.Input((6,))
    model = keras.Model([first, second], [layer(first)[0], layer(second)[0]])
    events, sessions = model.predict([X, X[:, 2]], verbose=0)
    np.testing.assert_allclose(events[:, 2], sessions, rtol=1e-5, atol=1e-6)


def test_they_serialize(make):
    layer = make(
        activation="gelu",
        dropout=0.1,
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(0.1),
        seed=3,
    )
    config = keras.saving.serialize_keras_object(layer)
    loaded = keras.saving.deserialize_keras_object(config)
    assert loaded.get_config() == layer.get_config()
    assert {"units", "dropout", "seed", "num_tasks"} <= loaded.get_config().keys()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: t4r.MMoE(0, 2, 4), "num_tasks is 0; it should be 1 or more"),
        (lambda: t4r.MMoE(2, 1.5, 4), "num_experts is 1.5; it should be a whole"),
        (lambda: t4r.MMoE(2, 2, ()), r"units of MMoE is \(\)"),
        (lambda: t4r.MMoE(2, 2, 4, dropout=1), "dropout is 1; it should be below 1"),
        (lambda: t4r.MMoE(2, 2, 4, seed="a"), "seed is 'a'"),
        (lambda: t4r.CGC(2, 1, 0, 4), "num_shared_experts is 0"),
        (lambda: t4r.CGC(2, 1, 1, 4, dropout=np.nan), "dropout is NaN"),
        (lambda: t4r.PLE(2, 0, 1, 1, 4), "num_layers is 0"),
        (lambda: t4r.PLE(2, 1, 1, 1, (4, 0)), "units of PLE is 0"),
        (lambda: t4r.PLE(2, 1, 1, 1, 4, dropout=-1), "dropout is -1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        make()


def test_lists_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="a list of 3: one a task and one for the sh"):
        t4r.CGC(2, 1, 1, 4)([X, X])
    with pytest.raises(ValueError, match="takes tensors of one shape, not of"):
        t4r.PLE(2, 2, 1, 1, 4)([X, X, X[..., :3]])
