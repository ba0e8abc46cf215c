"""Longformer: RoBERTa, whose attention sees near events only."""

import math

import keras

from keras_t4r.bodies.bert_family.bert import TOKENS
from keras_t4r.bodies.bert_family.roberta import Roberta
from keras_t4r.bodies.parts.attention.local_attention import LocalAttention
from keras_t4r.bodies.parts.attention.visibility import what_is_visible


@keras.saving.register_keras_serializable(package="keras_t4r")
class Longformer(Roberta):
    """Longformer's encoder, equal to Hugging Face's `LongformerModel(inputs_embeds=x)`.

    It computes what `Roberta` computes, but an event sees only those at most
    `attention_window / 2` positions off, padding counted; each block lets it see as
    far again. Time and memory grow with the length, not with its square. No event
    has global attention: sessions hold none that all should look at, and a
    checkpoint's weights for it are left out. Two-directional unless `causal=True`.

    Args:
        config: `transformers.LongformerConfig`. Its `attention_window` is an even
            number, or a list of one for each block. In the short form all blocks
            together reach over the whole session.
        causal: bool. Whether a position sees only itself and earlier ones.

    Example:

    >>> body = Longformer(LongformerConfig(hidden_size=64, num_attention_heads=4,
    ...     num_hidden_layers=2, intermediate_size=256, attention_window=64,
    ...     max_position_embeddings=1026))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [Longformer](https://arxiv.org/abs/2004.05150)
    """

    model_type = "longformer"
    hf_prefix = "longformer."
    hf_ignored = (
        TOKENS
        + r"|pooler\..*|lm_head\..*"
        + r"|encoder\.layer\.\d+\.attention\.self\.(query|key|value)_global\..*"
    )
    refused = {
        **Roberta.refused,
        "is_decoder": (
            (False,),
            "Hugging Face's model sees both directions all the same; say causal=True",
        ),
    }

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        fields = super().session_fields(d_model, n_head, n_layer, max_length, dropout)
        reach = max(16, math.ceil(max_length / n_layer))
        return {**fields, "attention_window": 2 * reach}

    def config_is_causal(self):
        return False

    def windows(self):
        """The window of each block."""
        windows = self.config.attention_window
        if isinstance(windows, int):
            windows = [windows] * self.n_layer
        if len(windows) != self.n_layer or any(w < 2 or w % 2 for w in windows):
            raise ValueError(
                f"LongformerConfig(attention_window={self.config.attention_window!r}) "
                "is not supported: it is an even number above 0, or a list of one for "
                f"each of the {self.n_layer} blocks."
            )
        return windows

    def make_attention(self, i, **parts):
        return LocalAttention(
            self.d_model,
            self.n_head,
            reach=self.windows()[i] // 2,
            causal=self.causal,
            **parts,
        )

    def make_visible(self, length, mask):
        # What is near and what is past, the attention itself knows.
        return what_is_visible(length, mask)
