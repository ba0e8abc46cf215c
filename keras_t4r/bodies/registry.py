"""From a config to its body."""

# The body of each `model_type`: a subclass of `Body` that names one enters here.
BODIES = {}


def register_body(body):
    """Enters a body under its `model_type`.

    Args:
        body: subclass of `Body`.

    Raises:
        ValueError: another class has that type.
    """
    known = BODIES.get(body.model_type, body)
    # A class that was made anew, as by a notebook's cell, takes its own place.
    if (known.__module__, known.__qualname__) != (body.__module__, body.__qualname__):
        raise ValueError(
            f"model_type {body.model_type!r} is that of {known.__module__}."
            f"{known.__qualname__}: give {body.__qualname__} and its config one of "
            "their own."
        )
    BODIES[body.model_type] = body


def make_body(config, causal=None, **kwargs):
    """Makes the body that a Hugging Face config describes.

    Args:
        config: a Hugging Face config object, or its dict.
        causal: bool. Overrides what the config says; see `Body`.
        **kwargs: of the layer, such as `name` and `dtype`.

    Returns:
        A `Body`.

    Raises:
        ValueError: no body is known for the config's `model_type`.
    """
    if isinstance(config, dict):
        model_type = config.get("model_type")
    else:
        model_type = getattr(config, "model_type", None)
    if model_type not in BODIES:
        raise ValueError(
            f"No body for {type(config).__name__} (model_type {model_type!r}): use a "
            f"config of {', '.join(sorted(BODIES))}, or a Keras layer of your own."
        )
    return BODIES[model_type](config, causal=causal, **kwargs)
