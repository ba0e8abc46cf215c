"""ALBERT: BERT, whose layers share their weights and whose events may be narrower."""

import keras

from keras_t4r.bodies.bert_family.bert import TOKENS, Bert
from keras_t4r.bodies.huggingface import layout as hf_layout
from keras_t4r.bodies.parts.blocks import PostNormBlock


class AlbertBlock(PostNormBlock):
    """`PostNormBlock` without dropout at the end of the feed-forward branch."""

    def call(self, x, visible=None, training=None, **more):
        branch = self.attention(x, visible=visible, training=training, **more)
        x = self.attention_norm(x + self.dropout(branch, training=training))
        return self.feed_forward_norm(x + self.feed_forward(x, training=training))


@keras.saving.register_keras_serializable(package="keras_t4r")
class Albert(Bert):
    """ALBERT's encoder, equal to Hugging Face's `AlbertModel(inputs_embeds=x)`.

    BERT with fewer weights, in two ways. Events have the width `embedding_size`
    and, normalised, are projected to `hidden_size`. And the `num_hidden_layers`
    layers, in order, fall into `num_hidden_groups` groups; all layers of a group are
    the same `inner_group_num` blocks, run one after another.

    Two-directional unless `causal=True`: its config knows no direction.

    Args:
        config: `transformers.AlbertConfig`.
        causal: bool. Overrides the config; see `Body`.

    Example:

    >>> body = Albert(AlbertConfig(embedding_size=32, hidden_size=64,
    ...     num_attention_heads=4, num_hidden_layers=6, intermediate_size=256))
    >>> y = body(x, mask=mask)    # (batch, time, 32) to (batch, time, 64)

    References:
        [ALBERT](https://arxiv.org/abs/1909.11942)
    """

    model_type = "albert"
    hf_prefix = "albert."
    hf_projection = "encoder.embedding_hidden_mapping_in"
    hf_ignored = TOKENS + r"|pooler\..*|predictions\..*|sop_classifier\..*"
    block_class = AlbertBlock
    refused = {
        **Bert.refused,
        "is_decoder": ((False,), "ALBERT's config has no direction, causal=True has"),
    }

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        if self.config.num_hidden_groups > max(self.n_layer, 1):
            raise ValueError(
                f"AlbertConfig: {self.config.num_hidden_groups} groups are more than "
                f"the {self.n_layer} layers to share among them."
            )

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        fields = super().session_fields(d_model, n_head, n_layer, max_length, dropout)
        return {**fields, "embedding_size": d_model}

    def config_is_causal(self):
        return False

    def width_of_events(self):
        return self.config.embedding_size

    def has_projection(self):
        return True

    def n_blocks(self):
        return self.config.num_hidden_groups * self.config.inner_group_num

    def path(self):
        groups, inner = self.config.num_hidden_groups, self.config.inner_group_num
        path = []
        for layer in range(self.n_layer):
            # Hugging Face's division: in whole numbers some layers, such as the tenth
            # of 18 in 14 groups, would fall into the next group.
            group = int(layer / (self.n_layer / groups))
            path += self.blocks[group * inner : (group + 1) * inner]
        return path

    def hf_block_name(self, i):
        group, block = divmod(i, self.config.inner_group_num)
        return f"encoder.albert_layer_groups.{group}.albert_layers.{block}"

    def hf_block_layout(self, block, name):
        attention, forward = block.attention, block.feed_forward
        qkv = [f"{name}.attention.{part}" for part in ("query", "key", "value")]
        yield from hf_layout.fused(attention.qkv, qkv)
        yield from hf_layout.dense(
            attention.output_projection, f"{name}.attention.dense"
        )
        yield from hf_layout.norm(block.attention_norm, f"{name}.attention.LayerNorm")
        yield from hf_layout.dense(forward.inner, f"{name}.ffn")
        yield from hf_layout.dense(forward.outer, f"{name}.ffn_output")
        yield from hf_layout.norm(
            block.feed_forward_norm, f"{name}.full_layer_layer_norm"
        )
