"""ELECTRA: BERT, whose events may be narrower than its blocks."""

import keras

from keras_t4r.bodies.bert_family.bert import TOKENS, Bert


@keras.saving.register_keras_serializable(package="keras_t4r")
class Electra(Bert):
    """ELECTRA's encoder, equal to Hugging Face's `ElectraModel(inputs_embeds=x)`.

    It computes what `Bert` computes; what ELECTRA changed is how it is trained (see
    `ReplacedTokenDetection`). But events have the width `embedding_size`, and where
    that is not `hidden_size` they are projected to it before the blocks.

    Args:
        config: `transformers.ElectraConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Electra(ElectraConfig(embedding_size=32, hidden_size=64,
    ...     num_attention_heads=4, num_hidden_layers=2, intermediate_size=256))
    >>> y = body(x, mask=mask)    # (batch, time, 32) to (batch, time, 64)

    References:
        [ELECTRA](https://arxiv.org/abs/2003.10555)
    """

    model_type = "electra"
    hf_prefix = "electra."
    hf_projection = "embeddings_project"
    hf_ignored = TOKENS + r"|(discriminator|generator)_predictions\..*|generator_lm_.*"

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        fields = super().session_fields(d_model, n_head, n_layer, max_length, dropout)
        return {**fields, "embedding_size": d_model}

    def width_of_events(self):
        return self.config.embedding_size
