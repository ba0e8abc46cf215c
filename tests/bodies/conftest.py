"""Small bodies of each kind, and gradients on whichever backend runs."""

import functools

import keras
import numpy as np
import pytest
from body_kinds import KINDS, WIDTH, directions_to_run, kinds_to_run
from body_kinds import small_config as make_small_config
from keras import ops

from keras_t4r.bodies import make_body


def pytest_generate_tests(metafunc):
    """Runs tests over all kinds, each direction, variants and refused options."""
    names = metafunc.fixturenames
    kinds = {kind: KINDS[kind] for kind in kinds_to_run()}
    if "variant" in names:
        cases = [
            pytest.param(
                (kind, *variant),
                id=f"{kind}-{name}",
                # The first of each kind is held to its reference on every backend.
                marks=[] if i else [pytest.mark.backends],
            )
            for kind, facts in kinds.items()
            for i, (name, variant) in enumerate(facts.variants.items())
            if facts.reference is not None
        ]
        metafunc.parametrize("variant", cases)
    elif "refused" in names:
        cases = [(k, *case) for k, facts in kinds.items() for case in facts.refused]
        metafunc.parametrize("refused", cases, ids=lambda c: "-".join(map(str, c)))
    elif {"kind", "causal"} <= set(names):
        cases = [
            pytest.param(k, c, id=f"{k}-{'causal' if c else 'bidirectional'}")
            for k in kinds
            for c in directions_to_run(k)
        ]
        metafunc.parametrize(("kind", "causal"), cases)
    elif "limited_kind" in names:
        metafunc.parametrize("limited_kind", [k for k in kinds if kinds[k].limited])
    elif "kind" in names:
        metafunc.parametrize("kind", list(kinds))


@pytest.fixture
def kinds():
    return KINDS


@pytest.fixture
def small_config():
    """`small_config(kind, dropout=0.0, **options)`; see `body_kinds`."""
    return make_small_config


@pytest.fixture
def body(kind, causal):
    """A built body whose weights, norms and biases included, are all random."""
    body = make_body(make_small_config(kind), causal=causal)
    body.build((None, None, body.d_input))
    randomise(body)
    return body


def randomise(body):
    random = np.random.default_rng(3)
    for variable in body.weights:
        if variable.dtype == "float32":
            noise = 0.1 * random.normal(size=variable.shape)
            variable.assign_add(noise.astype("float32"))


@pytest.fixture
def events():
    """`events(batch, time)`: vectors, and a mask with padding in any place."""

    def make(batch=5, time=9, seed=0, width=WIDTH):
        random = np.random.default_rng(seed)
        x = random.normal(size=(batch, time, width)).astype("float32")
        mask = random.random((batch, time)) > 0.3
        mask[:, 0] = True
        return x, mask

    return make


@pytest.fixture
def apply():
    """`apply(layer, x, mask)`: outputs in inference as a NumPy array."""
    compiled = {}

    def outputs(layer, x, mask=None, training=False):
        if mask is not None:
            mask = ops.convert_to_tensor(mask)
        run = layer
        if keras.backend.backend() == "jax" and layer.built:
            # One by one, JAX would compile each operation.
            if id(layer) not in compiled:
                compiled[id(layer)] = (layer, _jax_call(layer))
            run = compiled[id(layer)][1]
        y = run(ops.convert_to_tensor(x), mask=mask, training=training)
        return ops.convert_to_numpy(ops.cast(y, "float32"))

    return outputs


def _jax_call(layer):
    """The layer as one compiled function of its weights and inputs."""
    import jax

    @functools.partial(jax.jit, static_argnames="training")
    def stateless(trainable, fixed, x, mask, training):
        y, fixed = layer.stateless_call(
            trainable, fixed, x, mask=mask, training=training
        )
        return y, fixed

    def call(x, mask, training):
        fixed = layer.non_trainable_variables
        y, values = stateless(
            [v.value for v in layer.trainable_variables],
            [v.value for v in fixed],
            x,
            mask,
            training,
        )
        for variable, value in zip(fixed, values, strict=True):
            variable.assign(value)
        return y

    return call


@pytest.fixture
def gradients():
    """`gradients(layer, x, mask, w)`: those of `sum(w · layer(x))`.

    Returns the gradient by `x`, and a list of `(variable, gradient)`.
    """

    def compute(layer, x, mask, w, training=False):
        by_x, by_variables = {
            "tensorflow": _tensorflow_gradients,
            "jax": _jax_gradients,
            "torch": _torch_gradients,
        }[keras.backend.backend()](layer, x, mask, w, training)
        by_variables = [ops.convert_to_numpy(g) for g in by_variables]
        pairs = list(zip(layer.trainable_variables, by_variables, strict=True))
        return ops.convert_to_numpy(by_x), pairs

    return compute


def _loss(y, w):
    return ops.sum(ops.cast(y, "float32") * w)


def _tensorflow_gradients(layer, x, mask, w, training):
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, mask=tf.constant(mask), training=training)
        loss = _loss(y, w)
    variables = [v.value for v in layer.trainable_variables]
    by_x, *rest = tape.gradient(loss, [x, *variables])
    return by_x, rest


def _jax_gradients(layer, x, mask, w, training):
    import jax

    fixed = [v.value for v in layer.non_trainable_variables]

    def loss(trainable, x):
        y, _ = layer.stateless_call(trainable, fixed, x, mask=mask, training=training)
        return _loss(y, w)

    trainable = [v.value for v in layer.trainable_variables]
    by_variables, by_x = jax.jit(jax.grad(loss, argnums=(0, 1)))(trainable, x)
    return by_x, by_variables


def _torch_gradients(layer, x, mask, w, training):
    import torch

    x = torch.tensor(x, requires_grad=True)
    y = layer(x, mask=torch.tensor(mask), training=training)
    values = [v.value for v in layer.trainable_variables]
    by_x, *rest = torch.autograd.grad(_loss(y, torch.tensor(w)), [x, *values])
    return by_x, rest
