"""Blocks of which some see through a window and others everything."""

from keras_t4r.bodies.parts.attention.visibility import within_window

_TYPES = ("full_attention", "sliding_attention")


def layer_windows(config, window):
    """How far each block sees, by the config's `layer_types`.

    Args:
        config: a Hugging Face config with `layer_types`.
        window: int. What `within_window` takes for a "sliding_attention" block; `None`
            where the config has none.

    Returns:
        A list: `window`, or `None` for a block that sees everything.

    Raises:
        ValueError: there is a type of another name, or a window is needed and there
            is none.
    """
    types = config.layer_types
    for reason, wrong in {
        f"each is one of {', '.join(_TYPES)}": not set(types) <= set(_TYPES),
        "sliding_window is None": window is None and _TYPES[1] in types,
    }.items():
        if wrong:
            raise ValueError(
                f"{type(config).__name__}(layer_types={types!r}) is not supported: "
                f"{reason}."
            )
    return [None if name == "full_attention" else window for name in types]


def visible_by_window(visible, length, windows):
    """What is visible through each window among `windows`, as a dict.

    Args:
        visible, length: as of `within_window`.
        windows: a list as the function `layer_windows` makes it.
    """
    return {window: within_window(visible, length, window) for window in set(windows)}
