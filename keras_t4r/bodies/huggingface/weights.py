"""Weights of Hugging Face checkpoints, into the bodies; no torch needed."""

import json
import os
import re

import numpy as np

from keras_t4r.bodies.huggingface.config_data import config_from_dict
from keras_t4r.bodies.registry import make_body
from keras_t4r.files import as_text


def load_hf_body(folder, causal=None, **kwargs):
    """Makes a body of a Hugging Face checkpoint, with its weights.

    Args:
        folder: path. Holds `config.json` and the weights as safetensors.
        causal: bool. Overrides what the config says; see `Body`.
        **kwargs: of the layer, such as `name` and `dtype`.

    Returns:
        A built `Body`, which a `TransformerBlock` takes in the place of a config.

    Raises:
        FileNotFoundError: there is no `config.json`, or there are no safetensors.
        ValueError: there is no body for the config, or config and weights do not
            agree.

    Example:

    >>> block = TransformerBlock(load_hf_body("checkpoints/bert-small"))
    """
    folder = as_text(folder, "a checkpoint")
    path = os.path.join(folder, "config.json")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no config.json in {folder!r}.")
    with open(path, encoding="utf-8") as file:
        config = config_from_dict(json.load(file))
    body = make_body(config, causal, **kwargs)
    body.build((None, None, body.d_input))
    load_hf_weights(body, folder)
    return body


def load_hf_weights(body, source):
    """Copies the weights of a Hugging Face checkpoint into a built body.

    Args:
        body: a `Body` of a Hugging Face architecture, built.
        source: a mapping of parameter names to NumPy arrays, such as a PyTorch
            `state_dict` turned into arrays; or the path of a folder that holds
            `model.safetensors`, or several and their `model.safetensors.index.json`.

    Raises:
        FileNotFoundError: there are no safetensors in the folder.
        ValueError: the body is not built, or is quantised, or a weight is missing, of
            another shape, or has no place in the body. Then no weight was changed.

    Example:

    >>> body.build((None, None, 768))
    >>> load_hf_weights(body, "checkpoints/bert-base-uncased")
    """
    if not body.built:
        raise ValueError(
            f"{type(body).__name__} has no weights yet: call it, or body.build((None, "
            f"None, {body.d_input})), before load_hf_weights."
        )
    if any(layer.quantization_mode for layer in body._flatten_layers()):
        raise ValueError(
            f"{type(body).__name__} is quantised, and a checkpoint's weights are not: "
            "load them before model.quantize."
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
    for variable, names, convert in body.hf_layout():
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
    folder = as_text(folder, "a checkpoint")
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.isfile(os.path.join(folder, "model.safetensors")):
        files = ["model.safetensors"]
    elif os.path.isfile(index):
        # Large checkpoints come in several files.
        with open(index, encoding="utf-8") as file:
            files = sorted(set(json.load(file)["weight_map"].values()))
    else:
        raise FileNotFoundError(
            f"There is no model.safetensors in {folder!r}. (Older checkpoints hold a "
            "pickle, which is not read: save them once with safe_serialization=True.)"
        )
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            "Reading model.safetensors needs the safetensors package: install "
            "transformers, which brings it."
        ) from error
    arrays = {}
    for name in files:
        arrays.update(load_file(os.path.join(folder, name)))
    return arrays


def _own_names(body, source):
    """The entries of `source` that concern the body, named as in the bare model."""
    ignored = re.compile(body.hf_ignored)
    names = {name: name.removeprefix(body.hf_prefix) for name in source}
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
