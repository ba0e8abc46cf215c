"""What Reformer's chunks and hashing keep: padding nothing, the past the past."""

import keras
import numpy as np
import pytest
from body_kinds import lengths_to_run
from keras import ops
from seeds import set_seed

from keras_t4r import TransformerBlock
from keras_t4r.bodies import make_body, session_config
from keras_t4r.bodies.parts.attention.chunk_layout import chunks_around

pytestmark = pytest.mark.backends

CHUNKS = {"local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4, "num_buckets": 4}
LOCAL = {"attn_layers": ["local", "local"], "local_attn_chunk_length": 4}
LSH = {"attn_layers": ["lsh", "lsh"]}


@pytest.fixture
def chunked(small_config):
    """`chunked(causal=False, **options)`: a built body of many small chunks."""

    def make(causal=False, **options):
        set_seed(7)
        config = small_config("reformer", **{**CHUNKS, **options})
        body = make_body(config, causal=causal)
        body.build((None, None, 32))
        return body

    return make


@pytest.mark.backends("torch")
@pytest.mark.parametrize("options", [{}, LOCAL, LSH], ids=["both", "local", "lsh"])
def test_more_padding_adds_no_chunk_to_a_row(chunked, events, apply, options):
    body = chunked(**options)
    x, mask = events(batch=4, time=18)
    mask[1, 6:] = False
    mask[2, 2:] = False
    y = apply(body, x, mask)
    for more in lengths_to_run((1, 2, 9, 14)):
        wide = np.pad(x, ((0, 2), (0, more), (0, 0)), constant_values=1.7)
        padded = apply(body, wide, np.pad(mask, ((0, 2), (0, more))))
        np.testing.assert_allclose(padded[:4, :18][mask], y[mask], rtol=0, atol=2e-6)
        assert not padded[4:].any()
    for row, length in ((1, 6), (2, 2)):
        alone = apply(body, x[row : row + 1, :length], mask[row : row + 1, :length])
        real = mask[row, :length]
        np.testing.assert_allclose(
            alone[0][real], y[row, :length][real], rtol=0, atol=2e-6
        )


def test_holes_hold_nothing(chunked, events, apply):
    body = chunked()
    x, mask = events(time=18)
    for garbage in (3.0, np.nan):
        dirty = np.where(mask[..., None], x, np.float32(garbage))
        np.testing.assert_array_equal(apply(body, dirty, mask), apply(body, x, mask))


@pytest.mark.backends("torch")
@pytest.mark.parametrize("before", [1, 6])
def test_no_later_event_nor_the_number_of_them_changes_an_earlier_output(
    chunked, events, apply, before
):
    body = chunked(causal=True, **LOCAL, local_num_chunks_before=before)
    x, mask = events(batch=3, time=19)
    y = apply(body, x, mask)
    other, _ = events(batch=3, time=19, seed=1)
    for j in lengths_to_run(range(1, 19)):
        changed = np.concatenate([x[:, :j], other[:, j:]], axis=1)
        later = apply(body, changed, mask)[:, :j]
        np.testing.assert_allclose(later, y[:, :j], rtol=0, atol=2e-6)
        alone = apply(body, x[:, :j], mask[:, :j])
        np.testing.assert_allclose(alone, y[:, :j], rtol=0, atol=2e-6)


def test_causal_hashing_is_refused_unless_all_is_one_chunk(chunked, small_config):
    with pytest.raises(ValueError, match="a later event decide what earlier ones see"):
        chunked(causal=True)
    assert chunked(causal=True, **LOCAL).causal
    assert make_body(small_config("reformer"), causal=True).causal


def test_the_first_chunk_of_a_two_directional_row_sees_its_last(chunked, events, apply):
    body = chunked(attn_layers=["local"])
    x, _ = events(batch=2, time=16)
    mask = np.ones((2, 16), bool)
    mask[1, 10:] = False
    y = apply(body, x, mask)
    for row, last in ((0, 15), (1, 9)):
        changed = x.copy()
        changed[row, last] *= -1
        change = np.abs(apply(body, changed, mask) - y).max(axis=-1)
        assert (change[row, :4] > 1e-4).all()
        assert (change[row, 4:8] < 1e-6).all()
        assert not change[1 - row].any()


def test_a_ring_goes_round_by_round_through_a_rows_own_chunks():
    ring = chunks_around(ops.convert_to_tensor([3, 2], "int32"), 3, 1, 0, rounds=2)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ring)[0, :, 0], [5, 0, 1, 2, 3, 4]
    )
    # The third chunk of each round holds padding only, so nobody hears of it.
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ring)[1][[0, 1, 3, 4]], [[4, 0], [0, 1], [1, 3], [3, 4]]
    )


def test_events_of_other_buckets_are_not_seen(chunked, events, apply):
    options = {"lsh_num_chunks_before": 0, "num_hashes": 1}
    body = chunked(attn_layers=["lsh"], **options)
    x, _ = events(batch=4, time=24)
    y = apply(body, x)
    changed = x.copy()
    changed[:, 5] *= 1.001
    change = np.abs(apply(body, changed) - y).max(axis=-1)
    assert (change[:, 5] > 1e-5).all()
    # Itself, and three others of its chunk in each of four heads.
    assert ((change > 1e-6).sum(axis=1) <= 13).all()


def test_rotations_are_drawn_once_and_not_trained(chunked, events, apply):
    x, mask = events(time=20)
    body = chunked(**LSH)
    rotations = [block.attention.rotations for block in body.blocks]
    assert all(not r.trainable for r in rotations)
    assert np.abs(np.subtract(*map(ops.convert_to_numpy, rotations))).max() > 0.1
    np.testing.assert_array_equal(apply(body, x, mask), apply(body, x, mask))
    np.testing.assert_array_equal(apply(chunked(**LSH), x, mask), apply(body, x, mask))


def test_a_seed_of_the_config_fixes_the_rotations(small_config):
    drawn = []
    for seed in (1, 2):
        set_seed(seed)
        body = make_body(small_config("reformer", hash_seed=3))
        body.build((None, None, 32))
        drawn.append(ops.convert_to_numpy(body.blocks[1].attention.rotations))
    np.testing.assert_array_equal(*drawn)


@pytest.mark.backends("torch")
def test_half_precision_stays_finite_in_chunks(chunked, events, apply, gradients):
    x, mask = events(batch=4, time=20)
    mask[2] = False
    x[0] *= 100
    for policy in ("mixed_float16", "mixed_bfloat16"):
        body = make_body(chunked(initializer_range=0.05).config, dtype=policy)
        y = apply(body, x, mask)
        assert np.isfinite(y).all()
        by_x, by_variables = gradients(body, x, mask, np.full_like(y, 0.01))
        assert all(np.isfinite(g).all() for g in (by_x, *(g for _, g in by_variables)))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="only TensorFlow runs one graph for every length",
)
@pytest.mark.parametrize("options", [{}, LOCAL, LSH], ids=["both", "local", "lsh"])
def test_one_graph_serves_lengths_within_a_chunk_and_beyond(
    chunked, events, apply, options
):
    import tensorflow as tf

    body = chunked(**options)
    signature = [
        tf.TensorSpec((None, None, 32)),
        tf.TensorSpec((None, None), tf.bool),
    ]
    graph = tf.function(lambda x, mask: body(x, mask=mask), signature)
    for time in (1, 3, 4, 9, 16):
        x, mask = events(time=time)
        np.testing.assert_allclose(
            graph(x, mask), apply(body, x, mask), rtol=0, atol=2e-6
        )


@pytest.mark.backends("torch")
def test_a_saved_block_hashes_alike(events, tmp_path):
    x, mask = events(time=20)
    inputs = keras.Input((None, 32)), keras.Input((None,), dtype="bool")
    config = session_config("reformer", d_model=32)
    block = TransformerBlock(config)
    model = keras.Model(inputs, block(inputs[0], mask=inputs[1]))
    y = ops.convert_to_numpy(model([x, mask]))
    assert y.shape == (5, 20, 64)
    model.save(tmp_path / "model.keras")
    set_seed(99)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(again([x, mask])), y)


def test_axes_must_fit(small_config):
    axial = {"axial_pos_embds": True, "axial_pos_shape": [4, 8]}
    with pytest.raises(ValueError, match="the two must add up to the width 32"):
        make_body(small_config("reformer", **axial, axial_pos_embds_dim=[8, 8]))
    body = make_body(small_config("reformer", **axial, axial_pos_embds_dim=[8, 24]))
    assert body.max_length == 32
