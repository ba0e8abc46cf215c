from keras_t4r.arguments import whole_number


def as_widths(units, layer):
    """`units` of a stack of dense layers as a tuple of ints, one a layer.

    Args:
        units: int, or a sequence of ints.
        layer: string. Whose `units` they are, for the error.

    Raises:
        TypeError: one is no whole number.
        ValueError: there is none, or one is below 1.
    """
    widths = tuple(units) if isinstance(units, (list, tuple)) else (units,)
    if not widths:
        raise ValueError(
            f"units of {layer} is {units!r}; it should be a whole number, or several, "
            "one a dense layer."
        )
    return tuple(whole_number(f"units of {layer}", width) for width in widths)
