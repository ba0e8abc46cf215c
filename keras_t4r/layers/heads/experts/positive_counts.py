def check_counts(layer, **counts):
    """Refuses numbers of tasks, experts or layers that are no whole numbers from 1.

    Args:
        layer: string. Whose arguments they are.
        **counts: the arguments by name.

    Raises:
        ValueError: one is not.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(
                f"{layer} takes {name} as a whole number from 1, not {count!r}."
            )
