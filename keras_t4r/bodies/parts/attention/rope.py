"""Rotary positions: queries and keys turn by an angle that grows with their place."""

import math

import numpy as np
from keras import ops

from keras_t4r.bodies.parts.attention.self_attention import SelfAttention


def rope_frequencies(config, d_head, layer_type=None):
    """Angles by which the pairs of a head's numbers turn at each step.

    `theta ** (-2 c / d_head)` for the `c`-th of `d_head / 2` pairs, and slower as
    the config's `rope_type` says: all of them by a factor ("linear"), or those with
    few turns in the length of pretraining ("llama3").

    Args:
        config: a Hugging Face config with `rope_parameters`.
        d_head: int. Width of a head.
        layer_type: string. Whose parameters are meant, where each type of layer has
            its own.

    Returns:
        A float32 array of `d_head / 2` numbers.

    Raises:
        ValueError: the config asks for another `rope_type`, to turn a part of the
            head only, or for heads of odd width.
    """
    given = config.rope_parameters
    parameters = (given if layer_type is None else given.get(layer_type)) or {}
    rope_type = parameters.get("rope_type")

    def refuse(reason, **option):
        ((name, value),) = (option or {"rope_parameters": given}).items()
        raise ValueError(
            f"{type(config).__name__}({name}={value!r}) is not supported: {reason}."
        )

    if rope_type not in ("default", "linear", "llama3"):
        refuse('rope_type is "default", "linear" or "llama3"')
    if "rope_theta" not in parameters:
        refuse("rope_theta is missing")
    if parameters.get("partial_rotary_factor") not in (None, 1.0):
        refuse("heads turn as a whole")
    if d_head % 2:
        refuse("heads turn in pairs of numbers", head_dim=d_head)

    pairs = np.arange(0, d_head, 2) / d_head
    frequencies = float(parameters["rope_theta"]) ** -pairs
    if rope_type == "linear":
        frequencies = frequencies / parameters["factor"]
    elif rope_type == "llama3":
        frequencies = _slow_ones_slower(frequencies, parameters)
    return frequencies.astype("float32")


def _slow_ones_slower(frequencies, parameters):
    turns = frequencies * parameters["original_max_position_embeddings"] / math.tau
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return frequencies * (kept + (1 - kept) / parameters["factor"])


def rotary_table(length, frequencies):
    """Cosines and sines of the angles at positions `0, …, length - 1`.

    Args:
        length: int or scalar tensor. Number of positions.
        frequencies: array `(pairs,)`; see `rope_frequencies`.

    Returns:
        Two float32 tensors `(length, pairs)`.
    """
    position = ops.cast(ops.arange(length, dtype="int32"), "float32")
    angle = ops.expand_dims(position, 1) * ops.convert_to_tensor(frequencies)
    return ops.cos(angle), ops.sin(angle)


def rotate(x, cos, sin):
    """Turns the pairs `(x[c], x[c + pairs])` of the last axis.

    Args:
        x: tensor `(…, time, 2 · pairs)`.
        cos, sin: of `rotary_table`.
    """
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate(
        [first * cos - second * sin, second * cos + first * sin], axis=-1
    )


class RotaryAttention(SelfAttention):
    """Self-attention with rotary positions.

    The score of key `j` for query `i` is `s · (R(i) qᵢ) · (R(j) kⱼ)`, with `R(t)`
    the turn by `t` times the frequencies. Turned both, they know of their places
    how far apart they are, and no more.

    Args:
        Those of `SelfAttention`.

    Call arguments:
        x: `(batch, time, d_model)`.
        cos, sin: `rotary_table` of the length.
        visible: bool, broadcasts to `(batch, time, time)`; see `SelfAttention`.

    References:
        [RoFormer](https://arxiv.org/abs/2104.09864)
    """

    def call(self, x, cos, sin, visible=None, training=None):
        q, k, v = self.project(x)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        return self.mix(q, k, v, visible, training)
