"""What sets RoBERTa, ALBERT and ELECTRA apart from BERT."""

import numpy as np
import pytest

from keras_t4r.bodies import load_hf_weights, make_body


def test_roberta_begins_after_the_row_of_padding(small_config):
    config = small_config("roberta", pad_token_id=4, max_position_embeddings=20)
    body = make_body(config)
    assert body.max_length == 15


@pytest.mark.parametrize("pad", [None, 19])
def test_roberta_without_a_position_left_is_refused(small_config, pad):
    config = small_config("roberta", max_position_embeddings=20)
    config.pad_token_id = pad
    with pytest.raises(ValueError, match=rf"id={pad}\) leaves none of the 20"):
        make_body(config)


def test_alberts_layers_share_their_weights(small_config):
    counts = []
    for layers in (2, 6):
        body = make_body(small_config("albert", num_hidden_layers=layers))
        body.build((None, None, body.d_input))
        counts.append(body.count_params())
    assert counts[0] == counts[1]


def test_albert_of_more_groups_than_layers_is_refused(small_config):
    with pytest.raises(ValueError, match="3 groups are more than the 2 layers"):
        make_body(small_config("albert", num_hidden_groups=3))


def test_alberts_feed_forward_branch_has_no_dropout(small_config, events, apply):
    body = make_body(small_config("albert", dropout=0.5))
    x, mask = events(width=body.d_input)
    body.build(x.shape)
    # Nothing is left of the events and of the attention that dropout could change.
    block = body.blocks[0]
    silent = (body.norm.gamma, *block.attention.output_projection.trainable_weights)
    for variable in silent:
        variable.assign(np.zeros(variable.shape))
    body.projection.bias.assign(np.arange(body.d_model) / body.d_model)
    y = apply(body, x, mask)
    np.testing.assert_array_equal(apply(body, x, mask, training=True), y)
    assert y.std() > 0.1


@pytest.mark.parametrize(("layers", "groups"), [(18, 14), (5, 2), (3, 3)])
def test_layers_fall_into_the_groups_that_hugging_face_gives_them(
    small_config, layers, groups
):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from transformers import AlbertModel

    config = small_config(
        "albert", num_hidden_layers=layers, num_hidden_groups=groups, vocab_size=1
    )
    config.bos_token_id = config.eos_token_id = None
    model, expected = AlbertModel(config), []
    for i, group in enumerate(model.encoder.albert_layer_groups):
        group.register_forward_hook(lambda *_, i=i: expected.append(i))
    model(inputs_embeds=torch.zeros(1, 1, config.embedding_size))
    body = make_body(config)
    assert [body.blocks.index(block) for block in body.path()] == expected


@pytest.mark.parametrize(
    ("family", "model"),
    [
        ("bert", "BertForPreTraining"),
        ("roberta", "RobertaForMaskedLM"),
        ("albert", "AlbertForPreTraining"),
        ("electra", "ElectraForPreTraining"),
        ("electra", "ElectraForMaskedLM"),
    ],
    ids=lambda x: x,
)
def test_a_checkpoint_with_a_head_loads(small_config, family, model):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    import transformers

    config = small_config(family, vocab_size=9, bos_token_id=None, eos_token_id=None)
    model = getattr(transformers, model)(config)
    body = make_body(config)
    body.build((None, None, body.d_input))
    weights = {k: v.numpy() for k, v in model.state_dict().items()}
    load_hf_weights(body, weights)
    rows = weights[f"{family}.embeddings.position_embeddings.weight"]
    np.testing.assert_array_equal(body.positions.table, rows[-body.max_length :])
