"""Mistral: Llama with a sliding window and no biases."""

import keras

from keras_t4r.bodies.llama_family.llama import Llama


@keras.saving.register_keras_serializable(package="keras_t4r")
class Mistral(Llama):
    """Mistral's decoder, equal to Hugging Face's `MistralModel(inputs_embeds=x)`.

    `Llama` in which a position sees itself and the `sliding_window - 1` before it;
    what lies farther back reaches it through the blocks in between. Two-directional,
    it sees `sliding_window` on either side, as with Hugging Face.

    Args:
        config: `transformers.MistralConfig`. Without a window where its
            `sliding_window` is `None`; in the short form it spans the whole session, so
            that no event is out of sight.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Mistral(MistralConfig(hidden_size=64, num_attention_heads=4,
    ...     num_key_value_heads=2, num_hidden_layers=2, sliding_window=10))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [Mistral 7B](https://arxiv.org/abs/2310.06825)
    """

    model_type = "mistral"

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        fields = super().session_fields(d_model, n_head, n_layer, max_length, dropout)
        return {**fields, "sliding_window": max_length + 1}

    def biases(self):
        return {"qkv": False, "output": False, "feed_forward": False}

    def windows(self):
        return [self.sliding_window()] * self.n_layer
