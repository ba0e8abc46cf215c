"""RoBERTa: BERT, whose table of positions starts after the padding id."""

import keras

from keras_t4r.bodies.bert_family.bert import TOKENS, Bert


@keras.saving.register_keras_serializable(package="keras_t4r")
class Roberta(Bert):
    """RoBERTa's encoder, equal to Hugging Face's `RobertaModel(inputs_embeds=x)`.

    It computes what `Bert` computes; what RoBERTa changed is how it is trained. But
    its first event takes row `pad_token_id + 1` of the table of positions, so the
    body has as many positions fewer than `max_position_embeddings`, and keeps only
    the rows that it uses.

    Args:
        config: `transformers.RobertaConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Roberta(RobertaConfig(hidden_size=64, num_attention_heads=4,
    ...     num_hidden_layers=2, intermediate_size=256))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [RoBERTa](https://arxiv.org/abs/1907.11692)
    """

    model_type = "roberta"
    hf_prefix = "roberta."
    hf_ignored = TOKENS + r"|pooler\..*|lm_head\..*"

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        fields = super().session_fields(d_model, n_head, n_layer, max_length, dropout)
        pad = 1
        fields["max_position_embeddings"] += pad + 1
        return {**fields, "pad_token_id": pad}

    def first_position(self):
        pad, positions = self.config.pad_token_id, self.config.max_position_embeddings
        if pad is None or pad + 1 >= positions:
            raise ValueError(
                f"{type(self.config).__name__}(pad_token_id={pad}) leaves none of the "
                f"{positions} positions: the first is pad_token_id + 1."
            )
        return pad + 1
