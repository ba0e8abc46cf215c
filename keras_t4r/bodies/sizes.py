"""Short forms of configs, with values that suit sessions."""

from keras_t4r.bodies.body_config import BodyConfig
from keras_t4r.bodies.registry import BODIES


def session_config(
    architecture,
    d_model=64,
    n_head=4,
    n_layer=2,
    max_length=20,
    dropout=0.1,
    **options,
):
    """Makes the config of an architecture, sized for sessions.

    Hugging Face's defaults are for text: thousands of positions, feed-forward parts
    for a width of 768, initial weights so small that a narrow model on short sessions
    learns slowly. Here all fields that matter follow from the few arguments: the
    feed-forward part is `4 · d_model` wide (gated ones less, for as many parameters),
    initial weights have the standard deviation `d_model ** -0.5`, all dropouts are
    `dropout`, and there is one position more than `max_length`, which schemes that
    append the event to predict take.

    Args:
        architecture: string. The `model_type` of the config: `"xlnet"`, `"gpt2"`,
            `"bert"` and the others of `keras_t4r.bodies.BODIES`.
        d_model: int. Width of the events.
        n_head: int. Number of attention heads.
        n_layer: int. Number of blocks.
        max_length: int. The most events of a session.
        dropout: float. Rate of every dropout.
        **options: fields of the config, by its own names; they go before what
            follows from the other arguments.

    Returns:
        A Hugging Face config object, or one of this package's own.

    Raises:
        ImportError: the config is Hugging Face's and `transformers` is not installed.
        ValueError: there is no such architecture, or its config has no such field.

    Example:

    >>> config = session_config("xlnet", d_model=64, n_head=4, n_layer=2)
    >>> x = TransformerBlock(config)(x)
    """
    if architecture not in BODIES:
        raise ValueError(
            f"There is no architecture {architecture!r}: use one of "
            f"{', '.join(sorted(BODIES))}."
        )
    make = BodyConfig.of_type(architecture) or _hugging_face(architecture)
    sizes = BODIES[architecture].session_fields(
        d_model=d_model,
        n_head=n_head,
        n_layer=n_layer,
        max_length=max_length,
        dropout=dropout,
    )
    config = make(**sizes)
    unknown = [name for name in options if not hasattr(config, name)]
    if unknown:
        # Hugging Face's configs take any name, and a slip would change nothing.
        raise ValueError(
            f"{type(config).__name__} has no field {', '.join(map(repr, unknown))}."
        )
    return make(**{**sizes, **options}) if options else config


def _hugging_face(architecture):
    try:
        from transformers import CONFIG_MAPPING
    except ImportError as error:
        raise ImportError(
            f"The config of {architecture!r} is Hugging Face's: install transformers."
        ) from error
    return CONFIG_MAPPING[architecture]
