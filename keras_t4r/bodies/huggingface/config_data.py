"""Configs: to and from plain JSON data, and what a body refuses."""

import json

from keras_t4r.bodies.body_config import BodyConfig


def config_to_dict(config):
    """Returns what `config` says as plain JSON data, its `model_type` included."""
    if isinstance(config, BodyConfig):
        return config.to_dict()
    data = json.loads(config.to_json_string(use_diff=True))
    data.pop("transformers_version", None)
    return data


def config_from_dict(data):
    """Rebuilds a config object from `config_to_dict`'s data.

    Raises:
        ImportError: `transformers` is not installed.
        ValueError: `data` names no architecture that `transformers` knows.
    """
    own = BodyConfig.from_dict(data)
    if own is not None:
        return own
    try:
        from transformers import CONFIG_MAPPING
    except ImportError as error:
        raise ImportError(
            "A body saved with a Hugging Face config needs the transformers package "
            "to be loaded: install transformers."
        ) from error
    model_type = data.get("model_type")
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"transformers knows no config of model_type {model_type!r}.")
    return CONFIG_MAPPING[model_type].from_dict(data)


def refuse_options(config, options):
    """Raises `ValueError` where `config` sets an option that a body lacks.

    Args:
        config: a config.
        options: dict. Option name to `(values, reason)`: the values that change
            nothing, and why any other is refused.
    """
    for name, (harmless, reason) in options.items():
        value = getattr(config, name, harmless[0])
        if value not in harmless:
            raise ValueError(
                f"{type(config).__name__}({name}={value!r}) is not supported: {reason}."
            )
