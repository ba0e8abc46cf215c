def check_trained(outputs, names):
    """Raises `ValueError` where it cannot be told what a trained output's axes are.

    Args:
        outputs: dict of output name to symbolic tensor.
        names: collection of the names of those with a loss or metrics.
    """
    for name in sorted(names):
        tensor = outputs[name]
        if len(tensor.shape) == 2 and tensor.shape[1] is None:
            raise ValueError(
                f"The output {name!r} has the shape {tensor.shape}: an output of a "
                "value an event is (batch, time, 1), one of a session (batch, n)."
            )


def check_heads(heads, schema):
    """Raises `ValueError` where a head scores other ids than its column has.

    Args:
        heads: dict of output name to `NextItemHead`.
        schema: `Schema` of the model's inputs.
    """
    for name, head in heads.items():
        column = schema[schema.item_id if head.target is None else head.target]
        if head.first_id != column.first_id:
            raise ValueError(
                f"The ids of column {column.name!r} begin at {column.first_id}, but "
                f"{head.name!r} (output {name!r}) takes those from {head.first_id} on "
                f"for items: make it with NextItemHead(first_id={column.first_id})."
            )
        if head.rows != column.cardinality:
            raise ValueError(
                f"{head.name!r} (output {name!r}) scores {head.rows} ids, but column "
                f"{column.name!r} has {column.cardinality}: give it the table, or the "
                "cardinality, of that column, or name another by target=."
            )
