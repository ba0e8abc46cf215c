"""Which columns of the files are inputs, targets and weights."""

from dataclasses import dataclass, field

from keras_t4r.arguments import names


@dataclass(frozen=True)
class ColumnRoles:
    """What a loader does with each column.

    Args:
        item: string. The item column.
        session: string or `None`. The column of session ids.
        inputs: tuple of strings. Columns of `x`.
        targets: tuple of strings. Columns of `y`, a value a session or an event.
        next_columns: tuple of strings. Columns of `y` that hold the value of the
            event that came next; the item column first.
        sample_weight: string or `None`. The column of weights.
        one_target: bool. Whether `y` is an array, and no dict of arrays.
        looked_up: dict of columns of `x` that are no columns of the files to the column
            of ids that they are looked up by.
    """

    item: str
    session: str | None
    inputs: tuple
    targets: tuple = ()
    next_columns: tuple = ()
    sample_weight: str | None = None
    one_target: bool = False
    looked_up: dict = field(default_factory=dict)

    @classmethod
    def of(
        cls, schema, columns, target, targets, next_columns, sample_weight, looked_up
    ):
        """Gives each column its role, and refuses those that cannot play it.

        Args:
            schema: `Schema`.
            columns, target, targets, next_columns, sample_weight: see
                `KerasSequenceLoader`.
            looked_up: dict of column to the column of ids that it is looked up by.
        """
        targets = _names("targets", targets)
        more = _names("next_columns", next_columns)
        item, session = schema.item_id, schema.session_id
        _check_item(schema)
        if more and target != "last":
            raise ValueError(
                f"next_columns={list(more)} are values of the event that came next: "
                'pass target="last" too.'
            )
        ahead = tuple(dict.fromkeys((item, *more))) if target == "last" else ()
        for name in targets:
            _check_target(schema, name)
            if name in ahead:
                raise ValueError(
                    f"Column {name!r} stands in targets and in next_columns, but y "
                    "has one place for it: leave it out of one of the two."
                )
        for name in ahead:
            _check_numbers(schema, name)
            if not schema[name].is_list:
                raise ValueError(
                    f"Column {name!r} has one value a session, so none comes next: "
                    "name it in targets and not in next_columns."
                )
        if sample_weight is not None:
            _check_weight(schema, sample_weight)
        chosen = schema.features.names if columns is None else names("columns", columns)
        taken = {*targets, sample_weight}
        inputs = tuple(name for name in chosen if name not in taken)
        if not inputs:
            raise ValueError(
                "No column is left for x: all of columns are targets or weights."
            )
        for name in inputs:
            _check_input(schema, name)
        for name in looked_up:
            if name not in inputs:
                raise ValueError(
                    f"vectors has a column {name!r}, which is not among the columns of "
                    f"x, {list(inputs)}: tag it embedding in the schema, or name it in "
                    "columns."
                )
        return cls(
            item,
            session,
            inputs,
            targets,
            ahead,
            sample_weight,
            one_target=target == "last" and not targets and not more,
            looked_up=looked_up,
        )

    @property
    def read(self):
        """The columns to read, session ids apart; the item column is the first."""
        named = (*self.inputs, *self.targets, *self.next_columns)
        if self.sample_weight is not None:
            named += (self.sample_weight,)
        columns = dict.fromkeys((self.item, *named))
        columns.update(dict.fromkeys(self.looked_up.values()))
        for name in (self.session, *self.looked_up):
            columns.pop(name, None)
        return list(columns)

    @property
    def reads_session_ids(self):
        return self.session in self.inputs


def _names(argument, value):
    if value is None:
        return ()
    if isinstance(value, str):
        raise TypeError(f"{argument} is {value!r}; it should be a list of columns.")
    return tuple(dict.fromkeys(names(argument, value)))


def _check_item(schema):
    item = schema[schema.item_id]
    if item.dtype != "int64" or item.domain is None:
        raise ValueError(
            f"The item column {item.name!r} has to hold ids, int64 with a domain; "
            f"its dtype is {item.dtype!r}, its domain {item.domain}: mend the schema."
        )
    if not item.is_list:
        raise ValueError(
            f"The item column {item.name!r} has to be a list of ids; give it a "
            "value_count in the schema."
        )
    if item.is_bag:
        raise ValueError(
            f"The item column {item.name!r} has a bag of ids an event; an event is of "
            "one item: leave out its event_count."
        )


def _check_input(schema, name):
    column = schema[name]
    if name == schema.session_id or column.is_categorical or column.is_float:
        return
    raise ValueError(
        f"Column {name!r} is no feature: the schema has it neither as numbers "
        "(float32, or tagged continuous) nor as categorical ids with a domain."
    )


def _check_target(schema, name):
    if name == schema.item_id:
        raise ValueError(
            f"The item column {name!r} is no column of targets, for it is among the "
            'inputs: the scheme makes its targets in training, and target="last" '
            "gives the item that came next."
        )
    _check_numbers(schema, name)


def _check_weight(schema, name):
    _check_numbers(schema, name)
    if schema[name].is_list:
        raise ValueError(
            f"sample_weight={name!r} has one value an event; a weight is one value a "
            "session."
        )


def _check_numbers(schema, name):
    column = schema[name]
    if name == schema.session_id or column.dtype == "string":
        raise ValueError(
            f"Column {name!r} holds no numbers to learn from: give a column of "
            "numbers, booleans or ids."
        )
    if column.event_count is not None:
        raise ValueError(
            f"Column {name!r} has several values an event, and a target or a weight is "
            "one: it can be an input only."
        )
