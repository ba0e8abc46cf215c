"""Whether inputs have the axes that the schema says."""


def check_axes(inputs, schema, name):
    """Raises where a column is missing, or is of other axes than the schema's.

    Args:
        inputs: dict of column to tensor.
        schema: `Schema`. The columns that are read.
        name: string. What to call the layer in errors.

    Raises:
        ValueError: so it is.
    """
    missing = sorted(set(schema.names) - set(inputs))
    if missing:
        raise ValueError(
            f"Columns {missing} of the schema are missing in the input of {name!r}, "
            f"which has {sorted(inputs)}."
        )
    for column in schema:
        wanted, shape = column.shape, tuple(inputs[column.name].shape[1:])
        if len(shape) != len(wanted) or shape[1:] != wanted[1:]:
            raise ValueError(_other_axes(column, inputs[column.name].shape))


def _other_axes(column, shape):
    each = ("a session", "an event")[column.is_list]
    if column.event_count is not None:
        most = column.event_count[1]
        return (
            f"Column {column.name!r} has {most} values an event by the schema, so its "
            f"input is (batch, time, {most}), but it comes as {tuple(shape)}: give the "
            "schema another event_count."
        )
    wanted = ("(batch,)", "(batch, time)")[column.is_list]
    return (
        f"Column {column.name!r} has one number {each} by the schema, so its input is "
        f"{wanted}, but it comes as {tuple(shape)}: give the schema as many columns as "
        "there are numbers, or, for a vector, an event_count."
    )
