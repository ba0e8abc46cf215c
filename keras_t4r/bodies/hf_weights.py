"""Weights of Hugging Face checkpoints, into the bodies; no torch needed."""

import os
import re

import numpy as np

# What a checkpoint may hold and a body does not: token embeddings and pretraining
# heads, buffers, and parts that only work with segment ids or a second stream.
_IGNORED = {
    "bert": r"embeddings\.(word_embeddings\.weight|position_ids|token_type_ids)"
    r"|pooler\..*|cls\..*",
    "gpt2": r"wte\.weight|lm_head\.weight|h\.\d+\.attn\.(bias|masked_bias)",
    "xlnet": r"word_embedding\.weight|mask_emb|lm_loss\..*"
    r"|layer\.\d+\.rel_attn\.(seg_embed|r_s_bias)",
}
# The name under which models with a head keep the body.
_PREFIX = {"bert": "bert.", "gpt2": "transformer.", "xlnet": "transformer."}


def load_hf_weights(body, source):
    """Copies the weights of a Hugging Face checkpoint into a built body.

    Args:
        body: `Bert`, `GPT2` or `XLNet`, built.
        source: a mapping of parameter names to NumPy arrays, such as a PyTorch
            `state_dict` turned into arrays; or the path of a folder that holds
            `model.safetensors`.

    Raises:
        FileNotFoundError: there is no `model.safetensors` in the folder.
        ValueError: the body is not built, or a weight is missing, of another shape,
            or has no place in the body. Then no weight was changed.

    Example:

    >>> body.build((None, None, 768))
    >>> load_hf_weights(body, "checkpoints/bert-base-uncased")
    """
    if not body.built:
        raise ValueError(
            f"{type(body).__name__} has no weights yet: call it, or body.build((None, "
            f"None, {body.d_model})), before load_hf_weights."
        )
    if isinstance(source, (str, os.PathLike)):
        source = _read_folder(source)
    for variable, array in match_weights(body, source):
        variable.assign(array)


def match_weights(body, source):
    """Returns `(variable, array)` for each weight of `body`, in the body's layout.

    Args and raises as for `load_hf_weights`.
    """
    source = _own_names(body, source)
    matched, used, missing = [], set(), []
    for variable, names, convert in _LAYOUTS[body.model_type](body):
        used.update(names)
        lacking = [name for name in names if name not in source]
        if lacking:
            missing += lacking
            continue
        try:
            array = convert(*[np.asarray(source[name]) for name in names])
        except (ValueError, IndexError):
            array = None
        if array is None or array.shape != tuple(variable.shape):
            shapes = ", ".join(f"{n} {np.shape(source[n])}" for n in names)
            raise ValueError(
                f"The checkpoint's {shapes} cannot become the body's {variable.path} "
                f"{tuple(variable.shape)}: its config is another one."
            )
        matched.append((variable, array))
    if missing:
        raise ValueError(f"The checkpoint lacks {_some(missing)}.")
    unexpected = [name for name in source if name not in used]
    if unexpected:
        raise ValueError(
            f"The checkpoint holds {_some(unexpected)}, for which the body has no "
            "place: its config is another one."
        )
    return matched


def _read_folder(folder):
    path = os.path.join(os.fspath(folder), "model.safetensors")
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"There is no model.safetensors in {os.fspath(folder)!r}."
        )
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            "Reading model.safetensors needs the safetensors package: install "
            "transformers, which brings it."
        ) from error
    return load_file(path)


def _own_names(body, source):
    """The entries of `source` that concern the body, named as in the bare model."""
    prefix = _PREFIX[body.model_type]
    ignored = re.compile(_IGNORED[body.model_type])
    names = {name: name.removeprefix(prefix) for name in source}
    # Old checkpoints call a layer norm's weight and bias gamma and beta.
    return {
        re.sub(
            r"gamma$", "weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", own)
        ): source[name]
        for name, own in names.items()
        if not ignored.fullmatch(own)
    }


def _some(names):
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def _same(x):
    return x


def _turned(x):
    return x.T


def _turned_and_joined(*arrays):
    return np.concatenate([x.T for x in arrays], axis=1)


def _joined(*arrays):
    return np.concatenate(arrays)


def _norm(norm, name):
    yield norm.gamma, [f"{name}.weight"], _same
    yield norm.beta, [f"{name}.bias"], _same


def _dense(dense, name, convert=_turned):
    # torch keeps (outputs, inputs); GPT-2's own Conv1D (inputs, outputs).
    yield dense.kernel, [f"{name}.weight"], convert
    yield dense.bias, [f"{name}.bias"], _same


def _bert(body):
    yield (
        body.positions.table,
        ["embeddings.position_embeddings.weight"],
        _same,
    )
    # Every event is of the first type.
    yield body.token_type, ["embeddings.token_type_embeddings.weight"], lambda x: x[0]
    yield from _norm(body.norm, "embeddings.LayerNorm")
    for i, block in enumerate(body.blocks):
        layer = f"encoder.layer.{i}"
        attention, forward = block.attention, block.feed_forward
        qkv = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
        yield attention.qkv.kernel, [f"{x}.weight" for x in qkv], _turned_and_joined
        yield attention.qkv.bias, [f"{x}.bias" for x in qkv], _joined
        yield from _dense(
            attention.output_projection, f"{layer}.attention.output.dense"
        )
        yield from _norm(block.attention_norm, f"{layer}.attention.output.LayerNorm")
        yield from _dense(forward.inner, f"{layer}.intermediate.dense")
        yield from _dense(forward.outer, f"{layer}.output.dense")
        yield from _norm(block.feed_forward_norm, f"{layer}.output.LayerNorm")


def _gpt2(body):
    yield body.positions.table, ["wpe.weight"], _same
    for i, block in enumerate(body.blocks):
        attention, forward = block.attention, block.feed_forward
        yield from _norm(block.attention_norm, f"h.{i}.ln_1")
        yield from _dense(attention.qkv, f"h.{i}.attn.c_attn", _same)
        yield from _dense(attention.output_projection, f"h.{i}.attn.c_proj", _same)
        yield from _norm(block.feed_forward_norm, f"h.{i}.ln_2")
        yield from _dense(forward.inner, f"h.{i}.mlp.c_fc", _same)
        yield from _dense(forward.outer, f"h.{i}.mlp.c_proj", _same)
    yield from _norm(body.norm, "ln_f")


def _xlnet(body):
    # q, k, v, r and o are all (d_model, n_head, d_head).
    def flat(x):
        return x.reshape(x.shape[0], -1)

    def flat_and_joined(*arrays):
        return np.concatenate([flat(x) for x in arrays], axis=1)

    for i, block in enumerate(body.blocks):
        attention, forward = block.attention, block.feed_forward
        part = f"layer.{i}.rel_attn"
        yield (
            attention.qkv.kernel,
            [f"{part}.{x}" for x in ("q", "k", "v")],
            flat_and_joined,
        )
        yield (
            attention.output_projection.kernel,
            [f"{part}.o"],
            lambda x: flat(x).T,
        )
        yield attention.relative_kernel, [f"{part}.r"], flat
        yield attention.content_bias, [f"{part}.r_w_bias"], _same
        yield attention.position_bias, [f"{part}.r_r_bias"], _same
        yield from _norm(block.attention_norm, f"{part}.layer_norm")
        yield from _dense(forward.inner, f"layer.{i}.ff.layer_1")
        yield from _dense(forward.outer, f"layer.{i}.ff.layer_2")
        yield from _norm(block.feed_forward_norm, f"layer.{i}.ff.layer_norm")


_LAYOUTS = {"bert": _bert, "gpt2": _gpt2, "xlnet": _xlnet}
