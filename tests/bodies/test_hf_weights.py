"""Checkpoints load strictly, from a mapping or from a folder, without torch."""

import numpy as np
import pytest

from keras_t4r.bodies import load_hf_body, load_hf_weights, make_body

NAMES = {
    "bert": {
        "embeddings.position_embeddings.weight": (32, 32),
        "embeddings.token_type_embeddings.weight": (2, 32),
        "embeddings.LayerNorm.weight": (32,),
        "embeddings.LayerNorm.bias": (32,),
    }
}


@pytest.fixture
def body(small_config):
    body = make_body(small_config("bert", num_hidden_layers=0))
    body.build((None, None, 32))
    return body


@pytest.fixture
def checkpoint():
    random = np.random.default_rng(0)
    return {
        name: random.normal(size=shape).astype("float32")
        for name, shape in NAMES["bert"].items()
    }


def test_a_folder_loads(body, checkpoint, tmp_path):
    from safetensors.numpy import save_file

    save_file(checkpoint, tmp_path / "model.safetensors")
    load_hf_weights(body, tmp_path)
    np.testing.assert_array_equal(
        body.positions.table, checkpoint["embeddings.position_embeddings.weight"]
    )
    np.testing.assert_array_equal(
        body.token_type, checkpoint["embeddings.token_type_embeddings.weight"][0]
    )


def test_heads_and_token_embeddings_are_left_out_and_prefixes_taken_off(
    body, checkpoint
):
    full = {f"bert.{name}": array for name, array in checkpoint.items()}
    full["bert.embeddings.word_embeddings.weight"] = np.zeros((5, 32))
    full["bert.pooler.dense.weight"] = np.zeros((32, 32))
    full["cls.predictions.bias"] = np.zeros(5)
    load_hf_weights(body, full)
    np.testing.assert_array_equal(
        body.norm.gamma, checkpoint["embeddings.LayerNorm.weight"]
    )


def test_old_names_of_layer_norms_are_understood(body, checkpoint):
    gamma = checkpoint.pop("embeddings.LayerNorm.weight")
    checkpoint["embeddings.LayerNorm.gamma"] = gamma
    checkpoint["embeddings.LayerNorm.beta"] = checkpoint.pop(
        "embeddings.LayerNorm.bias"
    )
    load_hf_weights(body, checkpoint)
    np.testing.assert_array_equal(body.norm.gamma, gamma)


def test_a_missing_weight_is_named_and_nothing_changes(body, checkpoint):
    before = [w.copy() for w in body.get_weights()]
    del checkpoint["embeddings.LayerNorm.bias"]
    with pytest.raises(ValueError, match=r"lacks embeddings\.LayerNorm\.bias"):
        load_hf_weights(body, checkpoint)
    for old, new in zip(before, body.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_unexpected_weight_is_named(body, checkpoint):
    checkpoint["encoder.layer.0.output.dense.bias"] = np.zeros(32)
    with pytest.raises(ValueError, match=r"holds encoder\.layer\.0\.output\.dense"):
        load_hf_weights(body, checkpoint)


def test_a_wrong_shape_is_named(body, checkpoint):
    checkpoint["embeddings.position_embeddings.weight"] = np.zeros((512, 32))
    with pytest.raises(ValueError, match=r"position_embeddings\.weight \(512, 32\)"):
        load_hf_weights(body, checkpoint)


def test_an_unbuilt_body_and_an_empty_folder_are_refused(small_config, tmp_path):
    body = make_body(small_config("bert"))
    with pytest.raises(ValueError, match="has no weights yet"):
        load_hf_weights(body, {})
    body.build((None, None, 32))
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors"):
        load_hf_weights(body, tmp_path)


@pytest.mark.parametrize("max_shard_size", ["50GB", "20KB"])
def test_a_checkpoint_folder_becomes_a_body(small_config, tmp_path, max_shard_size):
    torch = pytest.importorskip("torch", reason="PyTorch writes the checkpoint")
    import transformers

    reference = transformers.BertModel(small_config("bert")).eval()
    reference.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    assert (tmp_path / "model.safetensors").is_file() == (max_shard_size == "50GB")
    x = np.random.default_rng(0).normal(size=(2, 5, 32)).astype("float32")
    with torch.no_grad():
        expected = reference(inputs_embeds=torch.tensor(x))[0].numpy()
    body = load_hf_body(tmp_path, name="pretrained")
    np.testing.assert_allclose(body(x), expected, rtol=0, atol=1e-5)
    assert body.name == "pretrained"
    assert body.config.hidden_size == 32


def test_a_folder_without_config_or_with_a_pickle_only_is_refused(
    small_config, tmp_path
):
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_hf_body(tmp_path)
    small_config("bert").save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="hold a pickle, which is not read"):
        load_hf_body(tmp_path)


def test_half_precision_checkpoints_load(body, checkpoint, tmp_path):
    import ml_dtypes
    from safetensors.numpy import save_file

    half = {k: v.astype(ml_dtypes.bfloat16) for k, v in checkpoint.items()}
    save_file(half, tmp_path / "model.safetensors")
    load_hf_weights(body, tmp_path)
    np.testing.assert_allclose(
        body.positions.table,
        checkpoint["embeddings.position_embeddings.weight"],
        rtol=1e-2,
    )
