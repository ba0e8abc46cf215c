"""Self-attention: fused where the backend fuses it, and then the same."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_t4r.bodies.parts.attention.self_attention import SelfAttention
from keras_t4r.bodies.parts.attention.visibility import what_is_visible

pytestmark = pytest.mark.backends


@pytest.fixture
def attention():
    def make(**options):
        layer = SelfAttention(16, 4, stddev=0.3, **options)
        layer.build((None, None, 16))
        return layer

    return make


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("options", [{}, {"n_kv_head": 2}, {"scale": 0.3, "d_head": 6}])
def test_fused_and_written_out_are_the_same(attention, causal, options):
    layer = attention(**options)
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 7, 16)).astype("float32")
    mask = random.random((3, 7)) > 0.3
    mask[2] = False
    visible = what_is_visible(7, ops.convert_to_tensor(mask), causal)
    for given in (visible, what_is_visible(7, None, causal)):
        q, k, v = layer.project(ops.convert_to_tensor(x))
        fused = layer.fused(q, k, v, given)
        plain = layer.attend(layer.scores(q, k), v, given, False)
        fused, plain = ops.convert_to_numpy(fused), ops.convert_to_numpy(plain)
        np.testing.assert_allclose(fused[:2], plain[:2], rtol=0, atol=1e-6)
        assert np.isfinite(fused).all()


def test_it_is_fused_where_there_is_a_fused_one_and_no_dropout(attention):
    fuses = keras.backend.backend() in ("jax", "torch")
    assert attention().can_fuse(training=True) == fuses
    assert attention(dropout=0.1).can_fuse(training=False) == fuses
    assert not attention(dropout=0.1).can_fuse(training=True)
    assert not attention(upcast=True).can_fuse(training=False)
