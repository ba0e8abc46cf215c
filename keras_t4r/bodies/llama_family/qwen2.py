"""Qwen2: Llama with biases on queries, keys and values, and windows in some blocks."""

import keras

from keras_t4r.bodies.llama_family.llama import Llama
from keras_t4r.bodies.parts.attention.layer_windows import layer_windows


@keras.saving.register_keras_serializable(package="keras_t4r")
class Qwen2(Llama):
    """Qwen2's decoder, equal to Hugging Face's `Qwen2Model(inputs_embeds=x)`.

    `Llama` with biases on the projections to queries, keys and values, and on no
    other. Blocks that the config's `layer_types` calls "sliding_attention" see
    through a window, as `Mistral`'s; with `use_sliding_window=True` these are the
    ones from `max_window_layers` on.

    Args:
        config: `transformers.Qwen2Config`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Qwen2(Qwen2Config(hidden_size=64, num_attention_heads=4,
    ...     num_key_value_heads=2, num_hidden_layers=2, intermediate_size=168))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [Qwen2 Technical Report](https://arxiv.org/abs/2407.10671)
    """

    model_type = "qwen2"

    def biases(self):
        return {"qkv": True, "output": False, "feed_forward": False}

    def windows(self):
        return layer_windows(self.config, self.sliding_window())
