"""Masks come back where Keras drops them, and stay where it has them right."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_t4r.models.mask_repair import keep_masks

pytestmark = pytest.mark.backends


class Count(keras.layers.Layer):
    """How many events the mask shows of each session; -1 where there is none."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, mask=None):
        if mask is None:
            return ops.full_like(x[:, 0, 0], -1)
        return ops.sum(ops.cast(mask, "float32"), axis=1)

    def compute_mask(self, x, mask=None):
        return None


def counts(join):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
    model = keras.Model(ids, keep_masks(ids, Count()(join(x))))
    return ops.convert_to_numpy(model(np.array([[1, 2, 0], [3, 0, 0]]))).tolist()


@pytest.mark.parametrize(
    "join",
    [
        lambda x: keras.layers.Concatenate()([x, ops.zeros_like(x)]),
        lambda x: keras.layers.Concatenate(axis=2)([ops.zeros_like(x), x]),
        lambda x: x + ops.zeros_like(x),
        lambda x: keras.layers.Average()([ops.gelu(x), ops.zeros_like(x)]),
    ],
)
def test_what_is_joined_event_by_event_keeps_the_mask(join):
    assert counts(join) == [2, 1]


def test_what_is_joined_over_time_has_the_mask_of_both():
    def join(x):
        return keras.layers.Concatenate(axis=1)([ops.zeros_like(x[:, :1]), x])

    assert counts(join) == [3, 2]
