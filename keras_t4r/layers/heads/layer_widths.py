def as_widths(units, layer):
    """`units` of a stack of dense layers as a tuple of ints, one a layer.

    Args:
        units: int, or a sequence of ints.
        layer: string. Whose `units` they are, for the error.

    Raises:
        ValueError: there is none, or one is no whole number from 1.
    """
    widths = tuple(units) if isinstance(units, (list, tuple)) else (units,)
    if not widths or any(w != int(w) or w < 1 for w in widths):
        raise ValueError(
            f"{layer} takes units as a whole number from 1, or several, one a dense "
            f"layer; not {units!r}."
        )
    return tuple(int(w) for w in widths)
