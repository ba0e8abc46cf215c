"""Qwen3: Qwen2 whose queries and keys are normalised, head by head."""

import keras

from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.llama_family.qwen2 import Qwen2
from keras_t4r.bodies.parts.attention.rope import RotaryAttention
from keras_t4r.bodies.parts.rms_norm import RMSNorm


@keras.saving.register_keras_serializable(package="keras_t4r")
class Qwen3(Qwen2):
    """Qwen3's decoder, equal to Hugging Face's `Qwen3Model(inputs_embeds=x)`.

    `Qwen2`, windows included, with an RMS norm on each head's queries and on its
    keys before they turn, which keeps scores in bounds. Attention has biases where
    the config's `attention_bias` says so, which it does not by itself.

    Args:
        config: `transformers.Qwen3Config`. Heads are `head_dim` wide, whatever
            `hidden_size`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Qwen3(Qwen3Config(hidden_size=64, num_attention_heads=4, head_dim=16,
    ...     num_key_value_heads=2, num_hidden_layers=2, intermediate_size=168))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [Qwen3 Technical Report](https://arxiv.org/abs/2505.09388)
    """

    model_type = "qwen3"

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        fields = super().session_fields(d_model, n_head, n_layer, max_length, dropout)
        return {**fields, "head_dim": d_model // n_head}

    def biases(self):
        attention = self.config.attention_bias
        return {"qkv": attention, "output": attention, "feed_forward": False}

    def make_attention(self):
        return super().make_attention(
            NormedRotaryAttention, epsilon=self.config.rms_norm_eps
        )

    def hf_block_layout(self, block, name):
        yield from super().hf_block_layout(block, name)
        attention, part = block.attention, f"{name}.self_attn"
        yield from hf_layout.norm(attention.query_norm, f"{part}.q_norm")
        yield from hf_layout.norm(attention.key_norm, f"{part}.k_norm")


class NormedRotaryAttention(RotaryAttention):
    """Rotary attention of normalised queries and keys.

    Args:
        epsilon: float. Of the two norms, which all heads share.
        Others: those of `SelfAttention`.
    """

    def __init__(self, *args, epsilon=1e-6, **kwargs):
        super().__init__(*args, **kwargs)

        def norm(name):
            return RMSNorm(epsilon=epsilon, dtype=self.dtype_policy, name=name)

        self.query_norm, self.key_norm = norm("query_norm"), norm("key_norm")

    def build(self, input_shape):
        super().build(input_shape)
        self.query_norm.build((None, self.d_head))
        self.key_norm.build((None, self.d_head))

    def project(self, x):
        q, k, v = super().project(x)
        return self.query_norm(q), self.key_norm(k), v
